package capture_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// originalReader returns how to run ProcessFork's own crates: the program of
// tools/processfork, which `make check-processfork` builds.
func originalReader(t *testing.T) func(stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	path := os.Getenv("KVFERRY_PROCESSFORK_READER")
	if path == "" {
		t.Skip("needs ProcessFork's crates: run make check-processfork")
	}
	return func(stdin []byte, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Stdin = bytes.NewReader(stdin)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, complaints.String())
		}
		return out, err
	}
}

// originalGeometries are those of the fixtures and some odd ones.
func originalGeometries() []string {
	return []string{
		"4,2,2,4,bf16", "8,4,4,8,bf16", "1,1,1,1,f32", "2,1,1,2,fp8e4m3", "3,5,1,7,f16", "16,22,4,64,bf16", "16,0,0,0,bf16",
		"1,1,1,1,fp8e4m3", "128,1,1,1,f16", "5,1,3,11,f32",
	}
}

// TestOriginalReadsOurStores: the original's restore reproduces pages and
// sequences of stores that this project wrote, in every geometry and codec,
// with sparse indices, forks, and sequences of awkward names.
func TestOriginalReadsOurStores(t *testing.T) {
	t.Parallel()
	read := originalReader(t)
	rng := rand.New(rand.NewPCG(11, 12))
	stores := 0
	for _, geometry := range originalGeometries() {
		for _, mode := range []codec.Mode{codec.Auto, codec.OnlyRaw, codec.PreferZstd} {
			m := plain(t, geometry)
			s, path := newDir(t)
			e := roomy(t, m)
			ids := scattered(t, e, rng, 1+rng.IntN(9))
			for fork := range 3 {
				awkward(t, e, rng, ids)
				set := synthetic.Ability(rng.IntN(int(synthetic.AllAbilities) + 1))
				rep, err := capture.Capture(t.Context(), e.With(set), s, capture.Options{Format: cas.FormatProcessFork, Codec: mode, Transfer: capture.Transfer{StagingBytes: 1 << 20}})
				require.NoError(t, err)
				out, err := read(nil, "read", path, rep.Root.String())
				require.NoError(t, err, "%s, codec %v, fork %d", geometry, mode, fork)
				sameAsOriginal(t, e, out)
				stores++
				page := make([]byte, m.PageBytes())
				for i := range page {
					page[i] = byte(rng.IntN(4))
				}
				require.NoError(t, e.WritePage(t.Context(), ids[rng.IntN(len(ids))], page))
			}
		}
	}
	t.Logf("%d snapshots read by the original", stores)
}

// scattered takes n pages at random indices and fills them.
func scattered(t *testing.T, e *synthetic.Engine, rng *rand.Rand, n int) (ids []pager.PageID) {
	t.Helper()
	from := fresh(t, e)
	require.NoError(t, from.Populate(n, rng.Uint64()))
	pages, _ := content(t, from)
	for len(ids) < n {
		id := pager.PageID(rng.Uint32() >> rng.IntN(32))
		if err := e.With(synthetic.Reserver).(pager.Reserver).ReservePages(t.Context(), []pager.PageID{id}); err != nil {
			continue // taken before
		}
		require.NoError(t, e.WritePage(t.Context(), id, pages[pager.PageID(len(ids))]))
		ids = append(ids, id)
	}
	return ids
}

// awkward installs sequences over the pages.
func awkward(t *testing.T, e *synthetic.Engine, rng *rand.Rand, ids []pager.PageID) {
	t.Helper()
	names := []string{"", "z", "a", "seq/one<two>&three", "é", "e\u0301", "日本語", "🙂", "\u2028", "\u2029x", "\x00", "\"\\/", "\x7f", "\b\t\n\f\r\x1f", strings.Repeat("long", 50)}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var seqs []pager.LogicalSeq
	for _, name := range names[:rng.IntN(len(names))] {
		s := pager.LogicalSeq{ID: name, FillInLastPage: rng.Uint32N(e.Meta().PageTokens)}
		for range rng.IntN(5) {
			s.Pages = append(s.Pages, ids[rng.IntN(len(ids))])
		}
		seqs = append(seqs, s)
	}
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), seqs))
}

// sameAsOriginal holds what the original's reader printed against an engine.
func sameAsOriginal(t *testing.T, e *synthetic.Engine, out []byte) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var pages []goldenPage
	for _, line := range lines[1 : len(lines)-1] {
		var p goldenPage
		require.NoError(t, json.Unmarshal([]byte(line), &p))
		pages = append(pages, p)
	}
	var seqs []goldenSeq
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &seqs))
	got, live := content(t, e)
	require.Len(t, pages, len(got))
	require.Len(t, seqs, len(live))
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	for _, p := range pages {
		page := got[pager.PageID(p.Ix)]
		require.Equal(t, p.K, h.Sum(page[:len(page)/2]))
		require.Equal(t, p.V, h.Sum(page[len(page)/2:]))
	}
	byID := map[string]pager.LogicalSeq{}
	for _, s := range sequences(seqs) {
		byID[s.ID] = s
	}
	for _, s := range live {
		o := byID[s.ID]
		require.True(t, len(s.Pages) == 0 && len(o.Pages) == 0 && s.FillInLastPage == o.FillInLastPage || s.Equal(o), "%+v, %+v", s, o)
	}
}

// TestWeReadTheOriginalsStores: the original writes into a store of its own,
// and into ours; what it writes is what we write.
func TestWeReadTheOriginalsStores(t *testing.T) {
	t.Parallel()
	run := originalReader(t)
	rng := rand.New(rand.NewPCG(13, 14))
	for i, geometry := range originalGeometries()[:5] {
		pages, seed := 1+rng.IntN(6), rng.Uint64()
		e := roomy(t, plain(t, geometry))
		require.NoError(t, e.Populate(pages, seed))
		path := filepath.Join(t.TempDir(), "store")
		if i%2 == 0 { // the store is ours already
			takePF(t, e, openDir(t, path, dir.Options{}))
		}
		out, err := run(nil, "write", path, geometry, fmt.Sprint(pages), fmt.Sprint(seed))
		require.NoError(t, err)
		root, err := digest.Parse(strings.TrimSpace(string(out)))
		require.NoError(t, err)
		s := openDir(t, path, dir.Options{})
		dst := fresh(t, e)
		_, err = capture.Restore(t.Context(), s, root, dst, capture.RestoreOptions{Transfer: capture.Transfer{StagingBytes: 1 << 20}})
		require.NoError(t, err)
		want, _ := content(t, e)
		got, _ := content(t, dst)
		require.Equal(t, want, got)
		rep := takePF(t, e, s)
		require.Equal(t, root, rep.Root)
		require.Zero(t, rep.NewBlobs)
	}
}
