package capture_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// golden describes one store that the original wrote.
type golden struct {
	file     string
	Captures []goldenCapture `json:"captures"`
	Reads    []goldenRead    `json:"reads"`
	Images   []struct {
		CID string `json:"cid"`
	} `json:"images"`
}

type goldenCapture struct {
	Args struct {
		Meta   string      `json:"meta"`
		Pages  int         `json:"pages"`
		Seed   uint64      `json:"seed"`
		Sparse []uint32    `json:"sparse"`
		Mutate []string    `json:"mutate"`
		Seqs   []goldenSeq `json:"seqs"`
	} `json:"args"`
	CID         string       `json:"cid"`
	Manifest    string       `json:"manifest"`
	Pages       []goldenPage `json:"pages"`
	LogicalSeqs []goldenSeq  `json:"logical_seqs"`
}

type goldenRead struct {
	What     string `json:"what"`
	CID      string `json:"cid"`
	Original struct {
		OK          bool         `json:"ok"`
		Kind        string       `json:"kind"`
		Pages       []goldenPage `json:"pages"`
		LogicalSeqs []goldenSeq  `json:"logical_seqs"`
	} `json:"original"`
}

type goldenPage struct {
	Ix uint32        `json:"ix"`
	K  digest.Digest `json:"k"`
	V  digest.Digest `json:"v"`
}

type goldenSeq struct {
	ID   string         `json:"id"`
	Ixs  []pager.PageID `json:"page_ixs"`
	Fill uint32         `json:"fill_in_last_page"`
}

// goldens returns the stores in testdata, and those of the folder that
// KVFERRY_GOLDEN_PROCESSFORK names if it is set.
func goldens(t testing.TB) []golden {
	t.Helper()
	folders := []string{filepath.Join("processfork", "testdata", "golden")}
	if more := os.Getenv("KVFERRY_GOLDEN_PROCESSFORK"); more != "" {
		folders = append(folders, more)
	}
	var all []golden
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files, folder)
		for _, f := range files {
			data, err := os.ReadFile(f)
			require.NoError(t, err)
			g := golden{file: f}
			require.NoError(t, json.Unmarshal(data, &g), f)
			all = append(all, g)
		}
	}
	return all
}

func (g golden) name() string { return strings.TrimSuffix(filepath.Base(g.file), ".json") }

// unpack writes the store as the original left it into a new directory.
func (g golden) unpack(t testing.TB) string {
	t.Helper()
	f, err := os.Open(strings.TrimSuffix(g.file, ".json") + ".tar.gz")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	gz, err := gzip.NewReader(f)
	require.NoError(t, err)
	root := t.TempDir()
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		require.NoError(t, err)
		require.True(t, filepath.IsLocal(h.Name), h.Name)
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		require.Equal(t, byte(tar.TypeReg), h.Typeflag)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
}

// unvalidated tells that only a lenient reader takes the capture: the original
// wrote sequences that contradict themselves.
func (g golden) unvalidated() bool { return g.name() == "pf-sequences-unvalidated" }

// engine returns an empty engine that can hold every index.
func (c goldenCapture) engine(t testing.TB) *synthetic.Engine {
	t.Helper()
	return roomy(t, plain(t, c.Args.Meta))
}

func roomy(t testing.TB, m pager.Meta) *synthetic.Engine {
	t.Helper()
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: pager.MaxPages})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// plain reads P,L,H,D,dtype.
func plain(t testing.TB, text string) pager.Meta {
	t.Helper()
	var p, l, h, d uint32
	var name string
	_, err := fmt.Sscanf(strings.ReplaceAll(text, ",", " "), "%d %d %d %d %s", &p, &l, &h, &d, &name)
	require.NoError(t, err, text)
	dt, err := pager.ParseDtype(name)
	require.NoError(t, err)
	m, err := pager.Plain(p, l, h, d, dt)
	require.NoError(t, err)
	return m
}

// build does what the original did before it captured.
func (c goldenCapture) build(t testing.TB) (*synthetic.Engine, error) {
	t.Helper()
	ctx := t.Context()
	e := c.engine(t)
	if c.Args.Sparse == nil {
		require.NoError(t, e.Populate(c.Args.Pages, c.Args.Seed))
	} else {
		from := c.engine(t)
		require.NoError(t, from.Populate(c.Args.Pages, c.Args.Seed))
		pages, seqs := content(t, from)
		seqs[0].Pages = nil
		for j, ix := range c.Args.Sparse {
			seqs[0].Pages = append(seqs[0].Pages, pager.PageID(ix))
			require.NoError(t, e.With(synthetic.Reserver).(pager.Reserver).ReservePages(ctx, []pager.PageID{pager.PageID(ix)}))
			require.NoError(t, e.WritePage(ctx, pager.PageID(ix), pages[pager.PageID(j)]))
		}
		require.NoError(t, e.InstallLogicalSeqs(ctx, seqs))
	}
	for _, m := range c.Args.Mutate {
		var ix, offset int
		_, err := fmt.Sscanf(strings.ReplaceAll(m[2:], ":", " "), "%d %d", &ix, &offset)
		require.NoError(t, err)
		page := make([]byte, e.Meta().PageBytes())
		require.NoError(t, e.ReadPage(ctx, pager.PageID(ix), page))
		if m[0] == 'v' {
			offset += len(page) / 2
		}
		page[offset] ^= 0xff
		require.NoError(t, e.WritePage(ctx, pager.PageID(ix), page))
	}
	if c.Args.Seqs == nil {
		return e, nil
	}
	return e, e.InstallLogicalSeqs(ctx, sequences(c.Args.Seqs))
}

func sequences(gs []goldenSeq) []pager.LogicalSeq {
	seqs := make([]pager.LogicalSeq, len(gs))
	for i, s := range gs {
		seqs[i] = pager.LogicalSeq{ID: s.ID, Pages: s.Ixs, FillInLastPage: s.Fill}
	}
	return seqs
}

// holds checks an engine's pages by their digests, and its sequences.
func holds(t testing.TB, e *synthetic.Engine, want []goldenPage, seqs []goldenSeq) {
	t.Helper()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	pages, got := content(t, e)
	last := map[uint32]goldenPage{} // of repeated entries the later one counts
	for _, p := range want {
		last[p.Ix] = p
	}
	require.Len(t, pages, len(last))
	for _, p := range last {
		page, ok := pages[pager.PageID(p.Ix)]
		require.True(t, ok, "page %d", p.Ix)
		require.Equal(t, p.K, h.Sum(page[:len(page)/2]))
		require.Equal(t, p.V, h.Sum(page[len(page)/2:]))
	}
	require.Len(t, got, len(seqs))
	for i, s := range sequences(seqs) {
		require.True(t, s.Equal(got[i]), "%+v, %+v", s, got[i])
	}
}

// TestGoldenCaptures verifies, restores and writes again every snapshot that
// the original wrote.
func TestGoldenCaptures(t *testing.T) {
	t.Parallel()
	n := 0
	for _, g := range goldens(t) {
		n += len(g.Captures)
		if len(g.Captures) == 0 {
			continue
		}
		t.Run(g.name(), func(t *testing.T) {
			t.Parallel()
			s := openDir(t, g.unpack(t), dir.Options{ReadOnly: true})
			for _, c := range g.Captures {
				root, err := digest.Parse(c.CID)
				require.NoError(t, err)
				if g.unvalidated() {
					goldenLenient(t, s, root, c)
				} else {
					goldenStrict(t, s, root, c)
				}
			}
			check, err := capture.Check(t.Context(), s, capture.CheckOptions{})
			require.NoError(t, err)
			// Manifests that contradict themselves are found too.
			sound := len(g.Reads) == 0 && !g.unvalidated() || g.name() == "pf-foreign-frames"
			require.Equal(t, sound, check.Sound(), "%+v", check)
		})
	}
	require.GreaterOrEqual(t, n, 25)
}

func goldenStrict(t *testing.T, s cas.Store, root digest.Digest, c goldenCapture) {
	t.Helper()
	ctx := t.Context()
	v, err := capture.Verify(ctx, s, root, capture.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.Equal(t, len(c.Pages), v.Pages)
	e, err := capture.Resolve(ctx, s, c.CID)
	require.NoError(t, err)
	require.Equal(t, root, e.Root)

	dst := c.engine(t)
	transfer := capture.Transfer{StagingBytes: 1 << 16}
	rep, err := capture.Restore(ctx, s, root, dst.With(synthetic.AllAbilities), capture.RestoreOptions{KeepIndices: true, Transfer: transfer})
	require.NoError(t, err)
	require.Equal(t, cas.FormatProcessFork, rep.Format)
	holds(t, dst, c.Pages, c.LogicalSeqs)

	// The same digest comes out of the restored engine, out of one that is
	// built like the original's, and by way of a native snapshot.
	again, err := capture.Capture(ctx, dst, newMem(t), capture.Options{Format: cas.FormatProcessFork, Transfer: transfer})
	require.NoError(t, err)
	require.Equal(t, root, again.Root)
	built, err := c.build(t)
	require.NoError(t, err)
	again, err = capture.Capture(ctx, built, newMem(t), capture.Options{Format: cas.FormatProcessFork, Transfer: transfer})
	require.NoError(t, err)
	require.Equal(t, root, again.Root)
	m := newMem(t)
	native, err := capture.Convert(ctx, s, root, m, capture.ConvertOptions{Format: cas.FormatNative})
	require.NoError(t, err)
	back, err := capture.Convert(ctx, m, native.Root, newMem(t), capture.ConvertOptions{Format: cas.FormatProcessFork})
	require.NoError(t, err)
	require.Equal(t, root, back.Root)
	direct, err := capture.Capture(ctx, dst, m, capture.Options{Transfer: transfer})
	require.NoError(t, err)
	require.Equal(t, native.Root, direct.Root)
}

// goldenLenient: sequences that contradict themselves are refused unless the
// caller asks for leniency. Then pages and sound sequences are restored, and
// the manifest's text can be written again as it was.
func goldenLenient(t *testing.T, s cas.Store, root digest.Digest, c goldenCapture) {
	t.Helper()
	ctx := t.Context()
	_, err := c.build(t)
	require.ErrorIs(t, err, kvferry.ErrInvalid, "no engine of ours has such sequences")
	dst := c.engine(t).With(synthetic.AllAbilities)
	_, err = capture.Restore(ctx, s, root, dst, capture.RestoreOptions{KeepIndices: true})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	v, err := capture.Verify(ctx, s, root, capture.VerifyOptions{LoadOptions: capture.LoadOptions{Lenient: true}})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	_, err = capture.Restore(ctx, s, root, dst, capture.RestoreOptions{KeepIndices: true, Lenient: true})
	require.NoError(t, err)
	pages, seqs := content(t, dst)
	require.Len(t, pages, len(c.Pages))
	require.NoError(t, pager.CheckSeqs(seqs, dst.Meta().PageTokens, func(id pager.PageID) bool { return pages[id] != nil }))

	m, err := processfork.DecodePages(readBlob(t, s, root), processfork.Options{Lenient: true})
	require.NoError(t, err)
	text, err := m.Encode()
	require.NoError(t, err)
	require.Equal(t, c.Manifest, string(text))
	require.Equal(t, root, putBlob(t, newMem(t), digest.SHA256, text))
}
