package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// scrubStore is a store that can scrub itself: blobs that were ruined have a
// checksum that does not hold.
type scrubStore struct {
	*mem.Store
	mu     sync.Mutex
	ruined map[digest.Digest]error
	gets   int
}

func newScrub(t testing.TB) *scrubStore {
	t.Helper()
	s, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &scrubStore{Store: s, ruined: map[digest.Digest]error{}}
}

func (s *scrubStore) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	s.mu.Lock()
	s.gets++
	err := s.ruined[d]
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.Store.Get(ctx, d, dst)
}

// View hides that of the store in memory: what is ruined must not be seen.
func (s *scrubStore) View(context.Context, digest.Digest) (cas.View, error) {
	return nil, kvferry.ErrUnsupported
}

func (s *scrubStore) Quarantine(ctx context.Context, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.ruined[d], kvferry.ErrUnsupported) {
		return fmt.Errorf("nobody may touch %v", d) //nolint:err113 // no other test looks for it
	}
	delete(s.ruined, d)
	return s.Store.Quarantine(ctx, d)
}

func (s *scrubStore) Scrub(ctx context.Context, o cas.ScrubOptions) error {
	var done int64
	for b, err := range s.Blobs(ctx) {
		if err != nil {
			return err
		}
		done += b.StoredBytes
		if err := s.ruined[b.Digest]; err != nil {
			o.Report(cas.Problem{Digest: b.Digest, Err: err})
		}
		o.Progress(done, 1<<20)
	}
	return nil
}

// ruin damages a blob in the store's memory of itself.
func (s *scrubStore) ruin(ds ...digest.Digest) {
	for _, d := range ds {
		s.ruined[d] = fmt.Errorf("blob %v: checksum: %w", d, kvferry.ErrCorrupt)
	}
}

// sick is a store with a snapshot of eight pages and a sound copy of it.
type sick struct {
	store, copy *scrubStore
	root        digest.Digest
	parts       []digest.Digest // of the pages, K and V by turns
	docs        []digest.Digest // the root and the chunks
}

func newSick(t testing.TB, o capture.Options) *sick {
	t.Helper()
	x := &sick{store: newScrub(t), copy: newScrub(t)}
	e := populated(t, 4, 2, 2, 4, pager.BF16, 8, 1<<40)
	for _, s := range []*scrubStore{x.store, x.copy} {
		rep, err := capture.Capture(t.Context(), e, s, o)
		require.NoError(t, err)
		x.root = rep.Root
	}
	snap, _, err := capture.Load(t.Context(), x.store, x.root, capture.LoadOptions{Key: o.Key})
	require.NoError(t, err)
	parts := map[digest.Digest]bool{}
	for i := range 16 {
		x.parts = append(x.parts, snap.Groups[0].Table.Digest(i/2, i%2))
		parts[x.parts[i]] = true
	}
	require.NoError(t, capture.References(x.store, o.Key)(t.Context(), cas.Entry{Root: x.root, Format: o.Format}, func(d digest.Digest) error {
		if !parts[d] {
			x.docs = append(x.docs, d)
		}
		return nil
	}))
	return x
}

// lose takes blobs out of the store without a trace of damage.
func (x *sick) lose(t testing.TB, ds ...digest.Digest) {
	t.Helper()
	for _, d := range ds {
		require.NoError(t, x.store.Store.Quarantine(t.Context(), d))
	}
}

func outcomes(r capture.CheckReport) map[digest.Digest]capture.Outcome {
	m := map[digest.Digest]capture.Outcome{}
	for _, b := range r.Mended {
		m[b.Digest] = b.Outcome
	}
	return m
}

func native() capture.Options { return capture.Options{Format: cas.FormatNative, Names: []string{"a"}} }

// TestQuickCheckReadsNoBlob: the store's own scrub tells the damage, and what it
// means for the snapshots needs nothing but their manifests.
func TestQuickCheckReadsNoBlob(t *testing.T) {
	t.Parallel()
	x := newSick(t, native())
	x.store.ruin(x.parts[5])
	x.lose(t, x.parts[8])
	x.store.gets = 0
	var last capture.Progress
	c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true, Progress: func(p capture.Progress) { last = p }})
	require.NoError(t, err)
	require.False(t, c.Deep)
	require.LessOrEqual(t, x.store.gets, len(x.docs))
	require.Len(t, c.Bad, 1)
	require.Equal(t, x.parts[5], c.Bad[0].Digest)
	require.Equal(t, 2, c.Snapshots[0].PagesLost)
	require.Empty(t, c.Mended)
	require.Equal(t, last.Bytes, c.Bytes)
	require.EqualValues(t, 1<<20, last.TotalBytes)
	has, err := x.store.Has(t.Context(), x.parts[5])
	require.NoError(t, err)
	require.True(t, has, "a check that is not asked to repair leaves what it only scrubbed")

	x.store.ruin(x.docs[0]) // the root
	c, err = capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true})
	require.NoError(t, err)
	require.ErrorIs(t, c.Snapshots[0].Err, kvferry.ErrCorrupt)

	deep, err := capture.Check(t.Context(), newMem(t), capture.CheckOptions{Quick: true})
	require.NoError(t, err)
	require.True(t, deep.Deep, "a store that cannot scrub is read blob by blob")
}

// TestQuickCheckOfATenant: what only the tenant's key opens is not called
// damaged, with no key and with another's; with the key it is looked into.
func TestQuickCheckOfATenant(t *testing.T) {
	t.Parallel()
	key, other := digest.DeriveKey([]byte("a")), digest.DeriveKey([]byte("b"))
	o := native()
	o.Key = &key
	x := newSick(t, o)
	for _, k := range []*digest.Key{nil, &other} {
		c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true, Key: k, Repair: true, From: x.copy})
		require.NoError(t, err)
		require.True(t, c.Sound(), "%+v", c)
		require.True(t, c.Snapshots[0].Unchecked)
		require.Empty(t, c.Mended)
	}
	x.store.ruin(x.parts[3])
	c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true, Key: &key})
	require.NoError(t, err)
	require.Equal(t, 1, c.Snapshots[0].PagesLost)
	c, err = capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true, Key: &key, Repair: true, From: x.copy})
	require.NoError(t, err)
	require.True(t, c.Sound(), "%+v", c)
	require.Equal(t, map[digest.Digest]capture.Outcome{x.parts[3]: capture.Healed}, outcomes(c))
}

// TestRepairHeals: what is damaged and what is missing, pages, tables and the
// root itself, come back from the other store.
func TestRepairHeals(t *testing.T) {
	t.Parallel()
	for _, quick := range []bool{true, false} {
		for _, f := range bothFormats() {
			o := native()
			o.Format = f
			x := newSick(t, o)
			x.store.ruin(x.parts[0], x.parts[7])
			x.store.ruin(x.docs...)
			x.lose(t, x.parts[9], x.parts[10])
			c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: quick, Repair: true, From: x.copy})
			require.NoError(t, err)
			require.True(t, c.Sound(), "%+v", c)
			require.Len(t, c.Mended, 4+len(x.docs))
			for _, m := range c.Mended {
				require.Equal(t, capture.Healed, m.Outcome)
				require.Error(t, m.Err)
			}
			require.Zero(t, c.Snapshots[0].PagesLost)
			st, err := x.store.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Sessions)
			again, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Repair: true, From: x.copy})
			require.NoError(t, err)
			require.True(t, again.Sound())
			require.Empty(t, again.Mended)
		}
	}
}

// TestRepairWithoutACopy: damage is set aside; what a snapshot needs is lost
// and stays in the report, what nobody needs is done with.
func TestRepairWithoutACopy(t *testing.T) {
	t.Parallel()
	for _, from := range []cas.Store{nil, newMem(t)} {
		x := newSick(t, native())
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(t, err)
		stray := putLoose(t, x.store, h.Sum([]byte("nobody needs this")), []byte("nobody needs this"))
		x.store.ruin(x.parts[0], stray)
		x.lose(t, x.parts[1])
		c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Quick: true, Repair: true, From: from})
		require.NoError(t, err)
		require.False(t, c.Sound())
		require.Equal(t, map[digest.Digest]capture.Outcome{
			x.parts[0]: capture.Lost, x.parts[1]: capture.Lost, stray: capture.Quarantined,
		}, outcomes(c))
		require.Len(t, c.Bad, 1)
		require.Equal(t, x.parts[0], c.Bad[0].Digest)
		require.Equal(t, 1, c.Snapshots[0].PagesLost)
		for _, d := range []digest.Digest{x.parts[0], stray} {
			has, err := x.store.Has(t.Context(), d)
			require.NoError(t, err)
			require.False(t, has)
		}
	}
}

// TestRepairTakesOnlyWhatIsSound: a copy that is damaged too heals nothing, and
// stays where it is.
func TestRepairTakesOnlyWhatIsSound(t *testing.T) {
	t.Parallel()
	x := newSick(t, native())
	x.store.ruin(x.parts[2], x.parts[4])
	x.copy.ruin(x.parts[2])
	x.lose(t, x.parts[6])
	require.NoError(t, x.copy.Store.Quarantine(t.Context(), x.parts[6]))
	wrong := putLoose(t, x.copy, x.parts[6], []byte("something else"))
	c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Repair: true, From: x.copy})
	require.NoError(t, err)
	require.Equal(t, map[digest.Digest]capture.Outcome{
		x.parts[2]: capture.Lost, x.parts[4]: capture.Healed, wrong: capture.Lost,
	}, outcomes(c))
	require.Equal(t, 2, c.Snapshots[0].PagesLost)
	require.Contains(t, x.copy.ruined, x.parts[2], "the other store is only read")
	has, err := x.copy.Has(t.Context(), wrong)
	require.NoError(t, err)
	require.True(t, has)
}

// putLoose makes a store hold bytes under d, rightly or not, without a snapshot
// that needs them.
func putLoose(t testing.TB, s *scrubStore, d digest.Digest, plain []byte) digest.Digest {
	t.Helper()
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	_, err = x.Put(t.Context(), d, plain)
	require.NoError(t, err)
	require.NoError(t, x.Abort(t.Context()))
	return d
}

// TestRepairSparesWhatIsNewer: a blob in an encoding that this build does not
// know is no damage that it may touch.
func TestRepairSparesWhatIsNewer(t *testing.T) {
	t.Parallel()
	x := newSick(t, native())
	x.store.ruined[x.parts[2]] = kvferry.ErrUnsupported
	c, err := capture.Check(t.Context(), x.store, capture.CheckOptions{Repair: true, From: x.copy})
	require.NoError(t, err)
	require.False(t, c.Sound())
	require.Empty(t, c.Mended)
	require.ErrorIs(t, c.Bad[0].Err, kvferry.ErrUnsupported)
	has, err := x.store.Has(t.Context(), x.parts[2])
	require.NoError(t, err)
	require.True(t, has)
}

// TestRepairInADirectory: the same with files that are gone, cut or changed.
func TestRepairInADirectory(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	sound := openDir(t, v.copyTo(t), dir.Options{ReadOnly: true})
	mended := 0
	for i, f := range v.names() {
		if !strings.HasPrefix(f, "blobs") {
			continue
		}
		root := v.copyTo(t)
		path := filepath.Join(root, f)
		changed := bytes.Clone(v.files[f])
		changed[len(changed)-1] ^= 1
		switch i % 3 {
		case 0:
			require.NoError(t, os.Remove(path))
		case 1:
			require.NoError(t, os.WriteFile(path, changed, 0o600))
		default:
			require.NoError(t, os.WriteFile(path, changed[:1], 0o600))
		}
		s := openDir(t, root, dir.Options{})
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{Repair: true, From: sound})
		require.NoError(t, err)
		require.True(t, c.Sound(), "%s: %+v", f, c)
		require.Len(t, c.Mended, 1, f)
		require.Equal(t, capture.Healed, c.Mended[0].Outcome)
		for _, root := range v.roots {
			require.NoError(t, v.restore(t, s, root))
		}
		mended++
	}
	require.Greater(t, mended, 10)
}

// TestRepairFaultSweep fails every call of a repair: the fault surfaces, unless
// all is mended in spite of it, and the next repair mends the rest.
func TestRepairFaultSweep(t *testing.T) {
	t.Parallel()
	for _, quick := range []bool{true, false} {
		for k, fired := 0, "first"; fired != ""; k++ {
			x := newSick(t, native())
			x.store.ruin(x.parts[0])
			x.store.ruin(x.docs...)
			x.lose(t, x.parts[9])
			var c calls
			c.arm(k, false, func(string) error { return errMarker })
			o := capture.CheckOptions{Quick: quick, Repair: true, From: x.copy, Workers: 1}
			r, err := capture.Check(t.Context(), newFaultStore(x.store, &c), o)
			switch fired = c.disarm(); {
			case fired != "" && err == nil && r.Sound() && len(r.Mended) == 2+len(x.docs):
				// It was about a blob that is damaged anyway, and mended now.
			case fired != "":
				for _, m := range r.Mended {
					err = errors.Join(err, m.Err)
				}
				require.ErrorIs(t, errors.Join(err, unhealthy(r)), errMarker, "%s, call %d", fired, k)
			default:
				require.NoError(t, err)
				require.Greater(t, k, 20)
			}
			st, err := x.store.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Sessions, "after a fault at %q", fired)
			r, err = capture.Check(t.Context(), x.store, o)
			require.NoError(t, err)
			require.True(t, r.Sound(), "after a fault at %q: %+v", fired, r)
		}
	}
}
