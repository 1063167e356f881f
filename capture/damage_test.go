package capture_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/pager"
)

// flipStride is every how manieth bit the short form flips: a prime, so that
// all bits of a byte have their turn.
const flipStride = 53

// TestSingleBitFlips flips every bit of every file of a store that holds both
// formats, one at a time.
func TestSingleBitFlips(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	stride := flipStride * thin
	if soak() {
		stride = 1
	}
	counts := v.apply(t, func(yield func(change) bool) {
		at := 0
		for _, f := range v.names() {
			for bit := range 8 * len(v.files[f]) {
				if at++; at%stride != 0 {
					continue
				}
				data := bytes.Clone(v.files[f])
				data[bit/8] ^= 1 << (bit % 8)
				if !yield(change{f, "bit flipped", data}) {
					return
				}
			}
		}
	})
	total, unharmed := counts.log(t)
	require.GreaterOrEqual(t, total, 19000/stride)
	// What the original's zstd files do not protect is a few bits of their
	// headers that no decoder looks at.
	require.Zero(t, unharmed-counts[".zst"][harmless])
	require.LessOrEqual(t, unharmed, total/50)
}

// TestTruncatedFiles cuts every file at every length.
func TestTruncatedFiles(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	stride := flipStride / 4 * thin
	if soak() {
		stride = 1
	}
	counts := v.apply(t, func(yield func(change) bool) {
		for _, f := range v.names() {
			for n := range v.files[f] {
				if n%stride == 0 && !yield(change{f, "truncated", v.files[f][:n]}) {
					return
				}
			}
		}
	})
	total, unharmed := counts.log(t)
	require.GreaterOrEqual(t, total, 2300/stride)
	require.Zero(t, unharmed)
}

// TestLongerAndMissingFiles appends garbage to every file, and deletes it.
func TestLongerAndMissingFiles(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	counts := v.apply(t, func(yield func(change) bool) {
		for _, f := range v.names() {
			for what, data := range map[string][]byte{
				"a zero appended":    append(bytes.Clone(v.files[f]), 0),
				"a newline appended": append(bytes.Clone(v.files[f]), '\n'),
				"itself appended":    bytes.Repeat(v.files[f], 2),
				"much appended":      append(bytes.Clone(v.files[f]), bytes.Repeat([]byte{0xA5}, 1<<16)...),
				"deleted":            nil,
			} {
				if !yield(change{f, what, data}) {
					return
				}
			}
		}
	})
	_, unharmed := counts.log(t)
	// Without kvferry.json the store is read as before: it says only what it is.
	require.Equal(t, 1, unharmed)
	require.Equal(t, 1, counts["kvferry.json"][harmless])
}

// TestSwappedFiles puts the content of every file into the place of every
// other of its kind.
func TestSwappedFiles(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	counts := v.apply(t, func(yield func(change) bool) {
		pairs := 0
		for _, f := range v.names() {
			for _, g := range v.names() {
				alike := filepath.Ext(f) == filepath.Ext(g) && strings.Split(f, "/")[0] == strings.Split(g, "/")[0]
				if f == g || !alike || bytes.Equal(v.files[f], v.files[g]) {
					continue
				}
				if pairs++; pairs%thin != 0 {
					continue
				}
				if !yield(change{f, "with the content of " + g, v.files[g]}) {
					return
				}
			}
		}
	})
	total, unharmed := counts.log(t)
	require.GreaterOrEqual(t, total, 100/thin)
	require.Zero(t, unharmed)
}

// TestDamagedBlobIsRepaired: after a read found a blob damaged, the next
// capture stores it anew, and the snapshot is whole again.
func TestDamagedBlobIsRepaired(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	repaired := 0
	for _, f := range v.names() {
		if !strings.HasPrefix(f, "blobs") {
			continue
		}
		root := v.copyTo(t)
		data := bytes.Clone(v.files[f])
		data[len(data)-1] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(root, f), data, 0o644))
		s := openDir(t, root, dir.Options{})
		var found []error
		for _, d := range v.roots {
			found = append(found, v.restore(t, s, d)) // finds the damage, and sets it aside
		}
		if errors.Join(found...) == nil {
			continue // a bit that nobody looks at
		}
		require.ErrorIs(t, errors.Join(found...), kvferry.ErrCorrupt, f)
		e := populated(t, 2, 1, 1, 2, pager.FP8E4M3, 3, 5)
		require.NoError(t, e.InstallLogicalSeqs(t.Context(), v.seqs))
		for _, format := range bothFormats() {
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: format, Transfer: capture.Transfer{StagingBytes: 64}})
			require.NoError(t, err)
			require.Equal(t, v.roots["name-"+string(format)], rep.Root)
		}
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.True(t, c.Sound(), "%s: %+v", f, c)
		repaired++
	}
	require.GreaterOrEqual(t, repaired, 14)
}

// TestLossIsToldByPageAndSequence: Check and Verify say what a damaged blob
// means.
func TestLossIsToldByPageAndSequence(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	root := v.copyTo(t)
	s := openDir(t, root, dir.Options{})
	snap, _, err := capture.Load(t.Context(), s, v.roots["name-native"], capture.LoadOptions{})
	require.NoError(t, err)
	g := &snap.Groups[0]
	d := g.Table.Digest(2, 1) // the third page by first use is held by b alone
	require.NoError(t, os.Remove(filepath.Join(root, "blobs", "blake3", d.Hex()[:2], d.Hex()+".kvf")))
	loss := []capture.Loss{{Digest: d, Pages: []uint32{2}, Sequences: []string{"b"}}}
	ver, err := capture.Verify(t.Context(), s, v.roots["name-native"], capture.VerifyOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, problems(ver.Problems), kvferry.ErrNotFound)
	ver.Problems[0].Err = nil
	require.Equal(t, loss, ver.Problems)
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
	require.NoError(t, err)
	i := slices.IndexFunc(c.Snapshots, func(h capture.SnapshotHealth) bool { return h.Entry.Format == cas.FormatNative })
	require.Equal(t, 1, c.Snapshots[i].PagesLost)
	c.Snapshots[i].Losses[0].Err = nil
	require.Equal(t, loss, c.Snapshots[i].Losses)
	require.Empty(t, c.Snapshots[1-i].Losses)
}
