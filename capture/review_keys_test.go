package capture_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// TestWrongKeyTakesNothingAway: to the wrong key every sound blob of another
// tenant looks damaged. They all stay where they are.
func TestWrongKeyTakesNothingAway(t *testing.T) {
	t.Parallel()
	a, b := digest.DeriveKey([]byte("tenant a")), digest.DeriveKey([]byte("tenant b"))
	d, _ := newDir(t)
	for kind, s := range map[string]cas.Store{"mem": newMem(t), "dir": d} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 5, 1<<40)
		roots := map[*digest.Key]digest.Digest{}
		for _, k := range []*digest.Key{&a, &b} {
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Key: k})
			require.NoError(t, err, kind)
			roots[k] = rep.Root
		}
		before := blobsOf(t, s)
		_, err := capture.Restore(t.Context(), s, roots[&a], fresh(t, e), capture.RestoreOptions{Key: &b})
		require.ErrorIs(t, err, kvferry.ErrCorrupt, kind)
		require.ErrorContains(t, err, "another tenant's key", kind)
		_, err = capture.Verify(t.Context(), s, roots[&b], capture.VerifyOptions{LoadOptions: capture.LoadOptions{Key: &a}})
		require.ErrorIs(t, err, kvferry.ErrCorrupt, kind)
		require.ErrorContains(t, err, "another tenant's key", kind)

		for _, k := range []*digest.Key{&a, &b} {
			c, err := capture.Check(t.Context(), s, capture.CheckOptions{Key: k})
			require.NoError(t, err, kind)
			require.True(t, c.Sound(), "%s: %+v", kind, c)
			require.EqualValues(t, len(before), c.Blobs, kind)
			require.EqualValues(t, len(before)/2, c.Unchecked, kind)
			for _, h := range c.Snapshots {
				require.Equal(t, h.Entry.Root != roots[k], h.Unchecked, kind)
			}
			_, err = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, k)})
			require.ErrorIs(t, err, kvferry.ErrCorrupt, kind)
			require.ElementsMatch(t, before, blobsOf(t, s), kind)
		}
		for _, keys := range [][]*digest.Key{{&a, &b}, {&b, nil, &a}} {
			rep, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, keys...)})
			require.NoError(t, err, kind)
			require.Len(t, rep.Kept, 2, kind)
			require.Zero(t, rep.Deleted, kind)
		}
		for k, root := range roots {
			dst := fresh(t, e)
			_, err := capture.Restore(t.Context(), s, root, dst, capture.RestoreOptions{Key: k})
			require.NoError(t, err, kind)
			want, _ := content(t, e)
			got, _ := content(t, dst)
			require.Equal(t, want, got, kind)
		}
	}
}

// TestCheckWithoutTheKey: an undamaged store of a tenant is sound to those who
// cannot read it, and the report tells that it was not read.
func TestCheckWithoutTheKey(t *testing.T) {
	t.Parallel()
	key := digest.DeriveKey([]byte("tenant"))
	d, _ := newDir(t)
	for _, s := range []cas.Store{newMem(t), d} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 5, 1<<40)
		_, err := capture.Capture(t.Context(), e, s, capture.Options{Key: &key})
		require.NoError(t, err)
		all := len(blobsOf(t, s))
		open, err := capture.Capture(t.Context(), e, s, capture.Options{})
		require.NoError(t, err)
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.True(t, c.Sound(), "%+v", c)
		require.EqualValues(t, all, c.Unchecked)
		require.Len(t, c.Snapshots, 2)
		for _, h := range c.Snapshots {
			require.NoError(t, h.Err)
			require.Equal(t, h.Entry.Root != open.Root, h.Unchecked)
		}
		require.EqualValues(t, len(blobsOf(t, s)), c.Blobs)
		_, err = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s)})
		require.ErrorIs(t, err, kvferry.ErrUnsupported, "a collection without the key would take the tenant's blobs")
	}
}

// TestCheckFindsDamageOfOtherTenants: a blob that cannot be decoded is damaged,
// whoever's it is and whatever key was given.
func TestCheckFindsDamageOfOtherTenants(t *testing.T) { // not parallel: others watch the heap
	a, b := digest.DeriveKey([]byte("tenant a")), digest.DeriveKey([]byte("tenant b"))
	for name, key := range map[string]*digest.Key{"no key": nil, "another key": &b, "the key": &a} {
		for _, pages := range []uint32{4, 40 << 10} { // blobs of 64 bytes and of more than a MiB
			s, path := newDir(t)
			e := populated(t, pages, 2, 2, 4, pager.BF16, 2, 1<<40)
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Key: &a})
			require.NoError(t, err)
			snap, _, err := capture.Load(t.Context(), s, rep.Root, capture.LoadOptions{Key: &a})
			require.NoError(t, err)
			lost := snap.Groups[0].Table.Digest(1, 0)
			garble(t, path, lost)
			c, err := capture.Check(t.Context(), s, capture.CheckOptions{Key: key, Workers: 1})
			require.NoError(t, err)
			require.False(t, c.Sound(), "%s, %d: %+v", name, pages, c)
			require.Equal(t, lost, c.Bad[0].Digest, name)
			require.ErrorIs(t, c.Bad[0].Err, kvferry.ErrCorrupt, name)
		}
	}
}

// garble changes every byte of the file that holds a blob but its first ones.
func garble(t testing.TB, path string, d digest.Digest) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "blobs", "*", d.Hex()[:2], d.Hex()+"*"))
	require.NoError(t, err)
	require.Len(t, files, 1, fmt.Sprint(d))
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Greater(t, len(data), 40)
	for i := range data[16:] {
		data[16+i] ^= 0xa5
	}
	require.NoError(t, os.Chmod(files[0], 0o600))
	require.NoError(t, os.WriteFile(files[0], data, 0o600))
}

// TestTenantNeedsItsKey: a tenant's pages never lie where everybody's are.
func TestTenantNeedsItsKey(t *testing.T) {
	t.Parallel()
	s, to := newMem(t), newMem(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 3, 1<<40)
	key := digest.DeriveKey([]byte("acme"))
	id := identity.Identity{Tenant: "acme"}
	_, err := capture.Capture(t.Context(), e, s, capture.Options{Identity: id})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "acme")
	require.Zero(t, e.Pauses())
	require.Empty(t, blobsOf(t, s))
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{Identity: id, Key: &key})
	require.NoError(t, err)
	_, err = capture.Convert(t.Context(), s, rep.Root, to, capture.ConvertOptions{FromKey: &key})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.Empty(t, blobsOf(t, to))
	_, err = capture.Convert(t.Context(), s, rep.Root, to, capture.ConvertOptions{FromKey: &key, Key: &key})
	require.NoError(t, err)
	_, err = capture.Convert(t.Context(), s, rep.Root, to, capture.ConvertOptions{FromKey: &key, DropIdentity: true})
	require.NoError(t, err, "given away on purpose")
}
