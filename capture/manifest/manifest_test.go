package manifest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	adapter := ""
	key := digest.DeriveKey([]byte("salt"))
	many := snapshotOf(40_000, 7)
	many.Groups = append(many.Groups, groupOf("draft", 1024, 1), groupOf("none", 0, 1))
	scattered := snapshotOf(3000, 0)
	scattered.Groups[0].Indices = nil
	scattered.Groups[0].Sequences = []manifest.Sequence{
		{ID: "", Pages: []uint32{}, FillInLastPage: 3},
		{ID: "\x00\"\\<\u2028\U0001F642", Pages: []uint32{2999, 0, 0, 1, 2, 5, 4, 3}, FillInLastPage: 15},
	}
	odd := snapshotOf(2, 1)
	odd.Identity = identity.Identity{Adapter: &adapter}
	odd.Groups[0].Meta = pager.Meta{PageTokens: 16, Dtype: pager.Opaque, Parts: []pager.Part{{Kind: pager.PartLatent, Bytes: 9, Form: "x\ny"}, {Kind: pager.PartScale}}}
	for name, s := range map[string]*manifest.Snapshot{
		"one group": snapshotOf(1025, 3), "three groups": many, "scattered": scattered, "odd": odd, "no pages": snapshotOf(0, 1),
	} {
		for _, alg := range []digest.Algorithm{digest.BLAKE3, digest.KeyedBLAKE3} {
			t.Run(fmt.Sprintf("%s/%v", name, alg), func(t *testing.T) {
				t.Parallel()
				b := newBlobsOf(t, alg, &key)
				root, doc, err := manifest.Encode(s, b.put)
				require.NoError(t, err)
				require.Equal(t, alg, root.Algorithm())
				require.Equal(t, b.m[root], doc)
				require.True(t, manifest.IsDocument(doc))
				got, err := manifest.Decode(root, b.get)
				require.NoError(t, err)
				require.Equal(t, s, got)
				again, _, err := manifest.Encode(got, b.put)
				require.NoError(t, err)
				require.Equal(t, root, again)
			})
		}
	}
}

// TestDocumentText holds the document's bytes: a change of them is another
// format.
func TestDocumentText(t *testing.T) {
	t.Parallel()
	s := snapshotOf(3, 2)
	b := newBlobs(t)
	root, doc, err := manifest.Encode(s, b.put)
	require.NoError(t, err)
	table := []byte("KVPT\x01\x01\x02\x00\x03\x00\x00\x00\x00\x00\x00\x00")
	for i := range 6 {
		sum := sumOf(digest.BLAKE3, i/2, i%2, 0).Sum()
		table = append(table, sum[:]...)
	}
	indices := []byte("KVPI\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")
	require.Equal(t, `{"format":"kvferry.snapshot.v1","identity":{"model":"tiny","weights":"r1","tokenizer":"t1","adapter":null,"tenant":"a","rank":1,"world":2},`+
		`"groups":[{"name":"","page_tokens":16,"layers":22,"kv_heads":4,"head_dim":64,"dtype":"bf16",`+
		`"parts":[{"kind":"k","bytes":180224,"form":"layer.token.head.dim"},{"kind":"v","bytes":180224,"form":"layer.token.head.dim"}],`+
		`"fingerprint":"blake3:ce4fe86efc103b71e358cf4f71bb456745f8f6c739862d8c88ea718856b302b6",`+
		`"pages":3,"algorithm":"blake3","chunk_pages":1024,`+
		`"table":["`+b.hasher.Sum(table).String()+`"],`+
		`"indices":["`+b.hasher.Sum(indices).String()+`"],`+
		`"sequences":[{"id":"request-000000","pages":[[0,1]],"fill":0},{"id":"request-000001","pages":[[0,3]],"fill":1}]}]}`, string(doc))
	require.Equal(t, "blake3:dc43c5102a0ec9c7941385b94ba63921249d51b642c8c59cf46616296f4c0c03", root.String())
}

func TestReferences(t *testing.T) {
	t.Parallel()
	s := snapshotOf(2050, 2)
	b := newBlobs(t)
	root, _, err := manifest.Encode(s, b.put)
	require.NoError(t, err)
	seen := map[digest.Digest]bool{}
	visit := func(d digest.Digest) error { seen[d] = true; return nil }
	require.NoError(t, manifest.References(root, b.get, visit))
	for d := range b.m {
		require.True(t, seen[d], "blob of the snapshot itself")
	}
	for page := range 2050 {
		for part := range 2 {
			require.True(t, seen[s.Groups[0].Table.Digest(page, part)])
		}
	}
	require.Len(t, seen, len(b.m)+2*2050)

	stop := errors.New("stop")
	for after := range 20 {
		n := 0
		err := manifest.References(root, b.get, func(digest.Digest) error {
			if n++; n > after {
				return stop
			}
			return nil
		})
		require.ErrorIs(t, err, stop)
	}
	for d := range b.m {
		if blob := b.m[d]; string(blob[:4]) != "KVPI" { // index chunks are named, not read
			delete(b.m, d)
			require.ErrorIs(t, manifest.References(root, b.get, visit), kvferry.ErrNotFound)
			b.m[d] = blob
		}
	}
}

// TestForkSharesChunks: a fork that lives on other engine indices and differs
// in one page stores one table chunk, its indices and a document.
func TestForkSharesChunks(t *testing.T) {
	t.Parallel()
	b := newBlobs(t)
	s := snapshotOf(10_000, 4)
	_, _, err := manifest.Encode(s, b.put)
	require.NoError(t, err)
	before := len(b.m)
	s.Groups[0].Table.Set(5000, 1, sumOf(digest.BLAKE3, 5000, 1, 1))
	_, _, err = manifest.Encode(s, b.put)
	require.NoError(t, err)
	require.Len(t, b.m, before+2)
	for i := range s.Groups[0].Indices {
		s.Groups[0].Indices[i] += 77
	}
	_, _, err = manifest.Encode(s, b.put)
	require.NoError(t, err)
	require.Len(t, b.m, before+4)
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *manifest.Snapshot, g *manifest.Group){
		"no group":           func(s *manifest.Snapshot, _ *manifest.Group) { s.Groups = nil },
		"group twice":        func(s *manifest.Snapshot, g *manifest.Group) { s.Groups = append(s.Groups, *g) },
		"too many groups":    func(s *manifest.Snapshot, _ *manifest.Group) { s.Groups = make([]manifest.Group, manifest.MaxGroups+1) },
		"group not UTF-8":    func(_ *manifest.Snapshot, g *manifest.Group) { g.Name = "\xff" },
		"identity not UTF-8": func(s *manifest.Snapshot, _ *manifest.Group) { s.Identity.Model = "\xff" },
		"adapter not UTF-8":  func(s *manifest.Snapshot, _ *manifest.Group) { a := "\xff"; s.Identity.Adapter = &a },
		"form not UTF-8": func(_ *manifest.Snapshot, g *manifest.Group) {
			g.Meta.Parts = []pager.Part{{Kind: pager.PartK, Form: "\xff"}}
		},
		"no dtype":          func(_ *manifest.Snapshot, g *manifest.Group) { g.Meta.Dtype = 0 },
		"no table":          func(_ *manifest.Snapshot, g *manifest.Group) { g.Table = manifest.Table{} },
		"parts":             func(_ *manifest.Snapshot, g *manifest.Group) { g.Table = manifest.NewTable(digest.BLAKE3, 20, 3) },
		"indices":           func(_ *manifest.Snapshot, g *manifest.Group) { g.Indices = g.Indices[1:] },
		"index twice":       func(_ *manifest.Snapshot, g *manifest.Group) { g.Indices[3] = g.Indices[9] },
		"id not UTF-8":      func(_ *manifest.Snapshot, g *manifest.Group) { g.Sequences[1].ID = "\xff" },
		"id twice":          func(_ *manifest.Snapshot, g *manifest.Group) { g.Sequences[1].ID = g.Sequences[0].ID },
		"ids not ascending": func(_ *manifest.Snapshot, g *manifest.Group) { g.Sequences[0].ID = "z" },
		"page out of range": func(_ *manifest.Snapshot, g *manifest.Group) { g.Sequences[0].Pages[0] = 20 },
		"fill of a page":    func(_ *manifest.Snapshot, g *manifest.Group) { g.Sequences[0].FillInLastPage = 16 },
		"too many references": func(_ *manifest.Snapshot, g *manifest.Group) {
			long := make([]uint32, 1<<16)
			for i := range 1<<11 + 1 {
				g.Sequences = append(g.Sequences, manifest.Sequence{ID: fmt.Sprintf("x%06d", i), Pages: long})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := snapshotOf(20, 3)
			change(s, &s.Groups[0])
			_, _, err := manifest.Encode(s, func([]byte) (digest.Digest, error) {
				t.Error("put of an invalid snapshot")
				return digest.Digest{}, nil
			})
			require.ErrorIs(t, err, kvferry.ErrInvalid)
		})
	}
}

func TestEncodePutErrors(t *testing.T) {
	t.Parallel()
	s := snapshotOf(2000, 3) // two table chunks, an index chunk, the document
	full := errors.New("full")
	for k := range 5 {
		b, n := newBlobs(t), 0
		_, _, err := manifest.Encode(s, func(p []byte) (digest.Digest, error) {
			if n++; n > k {
				return digest.Digest{}, full
			}
			return b.put(p)
		})
		if k < 4 {
			require.ErrorIs(t, err, full)
		} else {
			require.NoError(t, err)
		}
	}
	n := 0
	_, _, err := manifest.Encode(s, func(p []byte) (digest.Digest, error) {
		n++
		return sumOf(digest.Algorithm(1+n%2), n, 0, 0), nil
	})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestTable(t *testing.T) {
	t.Parallel()
	tab := manifest.NewTable(digest.SHA256, 3, 2)
	require.Equal(t, []int{3, 2}, []int{tab.Pages(), tab.Parts()})
	require.Equal(t, digest.SHA256, tab.Algorithm())
	d := sumOf(digest.SHA256, 1, 1, 9)
	tab.Set(2, 1, d)
	require.Equal(t, d, tab.Digest(2, 1))
	require.Equal(t, digest.New(digest.SHA256, [32]byte{}), tab.Digest(2, 0))
	other := manifest.NewTable(digest.SHA256, 1, 2)
	other.SetRow(0, tab, 2)
	require.Equal(t, tab.Row(2), other.Row(0))
	tab.Set(2, 1, sumOf(digest.SHA256, 2, 2, 9))
	require.Equal(t, d, other.Digest(0, 1), "a row is copied")
	for _, f := range []func(){
		func() { tab.SetRow(0, manifest.NewTable(digest.BLAKE3, 1, 2), 0) },
		func() { tab.SetRow(0, manifest.NewTable(digest.SHA256, 1, 1), 0) },
		func() { tab.Digest(3, 0) }, func() { tab.Digest(0, 2) }, func() { tab.Digest(-1, 0) },
		func() { tab.Set(0, 0, sumOf(digest.BLAKE3, 0, 0, 0)) },
		func() { manifest.NewTable(0, 1, 1) }, func() { manifest.NewTable(digest.BLAKE3, -1, 1) },
	} {
		require.Panics(t, f)
	}
}
