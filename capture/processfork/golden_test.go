package processfork_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/pager"
)

// golden is a file of testdata/golden, as far as manifests are concerned.
type golden struct {
	file     string
	Captures []struct {
		CID         string            `json:"cid"`
		Manifest    string            `json:"manifest"`
		Pages       []json.RawMessage `json:"pages"`
		LogicalSeqs []goldenSeq       `json:"logical_seqs"`
	} `json:"captures"`
	Reads []struct {
		What     string `json:"what"`
		CID      string `json:"cid"`
		Original struct {
			OK    bool   `json:"ok"`
			Error string `json:"error"`
			Kind  string `json:"kind"`
			Pages []struct {
				Ix   uint32 `json:"ix"`
				K, V string
			} `json:"pages"`
			LogicalSeqs []goldenSeq `json:"logical_seqs"`
		} `json:"original"`
	} `json:"reads"`
	Images []struct {
		Given  json.RawMessage `json:"given"`
		CID    string          `json:"cid"`
		Stored string          `json:"stored"`
	} `json:"images"`
}

type goldenSeq struct {
	ID   string         `json:"id"`
	Ixs  []pager.PageID `json:"page_ixs"`
	Fill uint32         `json:"fill_in_last_page"`
}

// goldens returns the files of testdata/golden, and of the folder that
// KVFERRY_GOLDEN_PROCESSFORK names if it is set.
func goldens(t *testing.T) []golden {
	t.Helper()
	dirs := []string{filepath.Join("testdata", "golden")}
	if more := os.Getenv("KVFERRY_GOLDEN_PROCESSFORK"); more != "" {
		dirs = append(dirs, more)
	}
	var all []golden
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
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

// archive returns the blobs of the golden's store that can be decompressed, by
// the digest that they are named by.
func (g golden) archive(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open(strings.TrimSuffix(g.file, ".json") + ".tar.gz")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	gz, err := gzip.NewReader(f)
	require.NoError(t, err)
	z, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderMaxWindow(128<<20))
	require.NoError(t, err)
	defer z.Close()
	blobs := map[string][]byte{}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blobs
		}
		require.NoError(t, err)
		name, ok := strings.CutSuffix(path.Base(h.Name), ".zst")
		if h.Typeflag != tar.TypeReg || !ok {
			continue
		}
		packed, err := io.ReadAll(r)
		require.NoError(t, err)
		if plain, err := z.DecodeAll(packed, nil); err == nil {
			blobs["sha256:"+name] = plain
		}
	}
}

func cid(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// TestGoldenCaptures reads every manifest that the original wrote and writes
// it again with the same digest, from the text's content and, where the
// content holds together, from the group.
func TestGoldenCaptures(t *testing.T) {
	t.Parallel()
	n := 0
	for _, g := range goldens(t) {
		blobs := map[string][]byte{}
		if len(g.Captures) > 0 {
			blobs = g.archive(t)
		}
		for _, c := range g.Captures {
			n++
			require.Equal(t, c.CID, cid([]byte(c.Manifest)), g.file)
			require.Equal(t, c.Manifest, string(blobs[c.CID]), "the stored manifest of %s", g.file)
			m, err := processfork.DecodePages([]byte(c.Manifest), processfork.Options{})
			require.NoError(t, err, g.file)
			require.Len(t, m.Pages, len(c.Pages))
			require.Equal(t, c.LogicalSeqs, seqsOf(m.Seqs))
			again, err := m.Encode()
			require.NoError(t, err)
			require.Equal(t, c.Manifest, string(again))

			group, _, err := processfork.DecodeManifest([]byte(c.Manifest), processfork.Options{})
			if strings.HasSuffix(g.file, "pf-sequences-unvalidated.json") {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err, g.file)
			again, err = processfork.EncodeManifest(group)
			require.NoError(t, err)
			require.Equal(t, c.CID, cid(again), g.file)
		}
	}
	require.GreaterOrEqual(t, n, 25)
}

func seqsOf(seqs []pager.LogicalSeq) []goldenSeq {
	out := make([]goldenSeq, len(seqs))
	for i, s := range seqs {
		out[i] = goldenSeq{ID: s.ID, Ixs: s.Pages, Fill: s.FillInLastPage}
	}
	return out
}

// TestGoldenReads holds the reader against the original's own judgement of
// manifests that are damaged, foreign or odd.
func TestGoldenReads(t *testing.T) {
	t.Parallel()
	// What the original takes by accident, and this package never.
	never := map[string]bool{
		"accepted: dtype as an object":                      true,
		"accepted: page as an array":                        true,
		"accepted: broken text in an unknown key of a page": true,
	}
	// What contradicts itself, and is taken only by a lenient reader.
	lenient := map[string]bool{
		"accepted: pages out of order":                    true, // its sequence names a page that is not there
		"accepted: one index twice, the later entry wins": true,
		"missing logical_seqs":                            true,
	}
	judged, refused := 0, 0
	for _, g := range goldens(t) {
		if len(g.Reads) == 0 {
			continue
		}
		blobs := g.archive(t)
		for _, r := range g.Reads {
			text, ok := blobs[r.CID]
			if !ok || cid(text) != r.CID {
				continue // damage below the manifest
			}
			judged++
			bad := r.Original.Kind == "Manifest" || strings.Contains(r.Original.Error, "expected layout") || never[r.What]
			if _, _, err := processfork.DecodeManifest(text, processfork.Options{}); bad || lenient[r.What] {
				require.Error(t, err, r.What)
				refused++
			} else if r.Original.OK {
				require.NoError(t, err, r.What)
			}
			group, x, err := processfork.DecodeManifest(text, processfork.Options{Lenient: true})
			if bad && !lenient[r.What] {
				require.Error(t, err, r.What)
			}
			if !r.Original.OK || never[r.What] {
				continue
			}
			require.NoError(t, err, r.What)
			restored := map[uint32]string{} // as the original restores it: the later entry wins
			for _, p := range r.Original.Pages {
				restored[p.Ix] = p.K + p.V
			}
			require.Equal(t, len(restored), group.Table.Pages(), r.What)
			require.Equal(t, strings.Contains(r.What, "one index twice"), x.RepeatedPages == 1)
			for i, id := range group.Indices {
				require.Equal(t, restored[uint32(id)], group.Table.Digest(i, 0).String()+group.Table.Digest(i, 1).String(), r.What)
			}
			require.Equal(t, r.Original.LogicalSeqs, seqsOf(x.Manifest.Seqs), r.What)
		}
	}
	require.GreaterOrEqual(t, judged, 40)
	require.GreaterOrEqual(t, refused, 25)
}

func TestGoldenImages(t *testing.T) {
	t.Parallel()
	n := 0
	for _, g := range goldens(t) {
		for _, i := range g.Images {
			n++
			require.Equal(t, i.CID, cid([]byte(i.Stored)))
			for _, text := range [][]byte{i.Given, []byte(i.Stored), bytes.ReplaceAll(i.Given, []byte(","), []byte("\n, "))} {
				m, err := processfork.DecodeImage(text, processfork.Options{})
				require.NoError(t, err)
				out, err := m.Encode()
				require.NoError(t, err)
				require.Equal(t, i.Stored, string(out))
			}
		}
	}
	require.GreaterOrEqual(t, n, 3)
}
