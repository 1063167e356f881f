package manifest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
)

// stored returns a small snapshot in a store, and its document.
func stored(t testing.TB) (*blobs, string) {
	t.Helper()
	b := newBlobs(t)
	_, doc, err := manifest.Encode(snapshotOf(1500, 2), b.put)
	require.NoError(t, err)
	return b, string(doc)
}

// TestDocumentDamage changes the document in one place and stores it under
// its new digest, so that only the reader's own checks can find it.
func TestDocumentDamage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, old, new string
		want           error
	}{
		{"later version", "snapshot.v1", "snapshot.v2", kvferry.ErrUnsupported},
		{"other chunk size", `"chunk_pages":1024`, `"chunk_pages":512`, kvferry.ErrUnsupported},
		{"other format", "kvferry.snapshot.v1", "kvferry.snap.v1", kvferry.ErrCorrupt},
		{"empty", "", "", kvferry.ErrCorrupt},
		{"other keys", `"identity"`, `"Identity"`, kvferry.ErrCorrupt},
		{"white space", `"groups":`, `"groups": `, kvferry.ErrCorrupt},
		{"escape", `"tiny"`, `"tin\u0079"`, kvferry.ErrCorrupt},
		{"lone surrogate", `"tiny"`, `"\ud800"`, kvferry.ErrCorrupt},
		{"not UTF-8", `"tiny"`, "\"\xff\"", kvferry.ErrCorrupt},
		{"number form", `"rank":1`, `"rank":01`, kvferry.ErrCorrupt},
		{"number range", `"rank":1`, `"rank":4294967296`, kvferry.ErrCorrupt},
		{"adapter a number", `"adapter":null`, `"adapter":1`, kvferry.ErrCorrupt},
		{"trailing byte", `]}]}`, "]}]}\n", kvferry.ErrCorrupt},
		{"cut", `"fill":1}]}]}`, `"fill":1}]}`, kvferry.ErrCorrupt},
		{"dtype", `"bf16"`, `"f8"`, kvferry.ErrCorrupt},
		{"other dtype", `"bf16"`, `"f16"`, kvferry.ErrCorrupt},
		{"geometry", `"layers":22`, `"layers":23`, kvferry.ErrCorrupt},
		{"part bytes", `"bytes":180224`, `"bytes":180223`, kvferry.ErrCorrupt},
		{"part kind", `"kind":"k"`, `"kind":"q"`, kvferry.ErrCorrupt},
		{"form", `layer.token.head.dim`, `token.layer.head.dim`, kvferry.ErrCorrupt},
		{"fingerprint", `"fingerprint":"blake3:`, `"fingerprint":"sha256:`, kvferry.ErrCorrupt},
		{"fewer pages", `"pages":1500`, `"pages":1024`, kvferry.ErrCorrupt},
		{"one page less", `"pages":1500`, `"pages":1499`, kvferry.ErrCorrupt},
		{"one page more", `"pages":1500`, `"pages":1501`, kvferry.ErrCorrupt},
		{"too many pages", `"pages":1500`, `"pages":268435457`, kvferry.ErrCorrupt},
		{"many pages", `"pages":1500`, `"pages":268435456`, kvferry.ErrCorrupt},
		{"algorithm", `"algorithm":"blake3"`, `"algorithm":"sha256"`, kvferry.ErrCorrupt},
		{"unknown algorithm", `"algorithm":"blake3"`, `"algorithm":"md5"`, kvferry.ErrCorrupt},
		{"chunk's algorithm", `"table":["blake3:`, `"table":["sha256:`, kvferry.ErrCorrupt},
		{"index chunk's algorithm", `"indices":["blake3:`, `"indices":["sha256:`, kvferry.ErrCorrupt},
		{"upper-case digest", `"table":["blake3:`, `"table":["BLAKE3:`, kvferry.ErrCorrupt},
		{"ids repeat", `request-000001`, `request-000000`, kvferry.ErrCorrupt},
		{"ids out of order", `request-000001`, `request`, kvferry.ErrCorrupt},
		{"fill of a page", `"fill":1`, `"fill":16`, kvferry.ErrCorrupt},
		{"run too long", `[[0,750]]`, `[[0,1501]]`, kvferry.ErrCorrupt},
		{"run beyond the end", `[[0,750]]`, `[[751,750]]`, kvferry.ErrCorrupt},
		{"run far beyond", `[[0,750]]`, `[[4294967295,4294967295]]`, kvferry.ErrCorrupt},
		{"run of nothing", `[[0,750]]`, `[[0,750],[9,0]]`, kvferry.ErrCorrupt},
		{"split run", `[[0,750]]`, `[[0,749],[749,1]]`, kvferry.ErrCorrupt},
		{"too many references", `[[0,750]]`, "[" + strings.Repeat("[0,1500],", 90_000) + "[0,1]]", kvferry.ErrCorrupt},
		{"group twice", `"groups":[`, "group", kvferry.ErrCorrupt},
		{"no groups", "groups", "none", kvferry.ErrCorrupt},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, doc := stored(t)
			switch c.name {
			case "empty":
				doc = ""
			case "group twice":
				from := strings.Index(doc, c.old) + len(c.old)
				doc = strings.TrimSuffix(doc, "]}") + "," + doc[from:]
			case "no groups":
				doc = doc[:strings.Index(doc, `"groups":[`)] + `"groups":[]}`
			default:
				require.Contains(t, doc, c.old)
				doc = strings.Replace(doc, c.old, c.new, 1)
			}
			root, err := b.put([]byte(doc))
			require.NoError(t, err)
			s, err := manifest.Decode(root, b.get)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, s)
		})
	}
}

// TestChunkDamage puts another blob in the place of each chunk.
func TestChunkDamage(t *testing.T) {
	t.Parallel()
	b, doc := stored(t)
	root := b.hasher.Sum([]byte(doc))
	for d, good := range b.m {
		if d == root {
			continue
		}
		set := func(off int, v byte) []byte {
			c := bytes.Clone(good)
			c[off] = v
			return c
		}
		same := bytes.Clone(good)
		copy(same[20:24], same[16:20]) // an index twice; in a table nothing wrong
		for name, c := range map[string]struct {
			blob []byte
			want error
		}{
			"empty": {nil, kvferry.ErrCorrupt}, "header alone": {good[:16], kvferry.ErrCorrupt},
			"cut": {good[:len(good)-1], kvferry.ErrCorrupt}, "longer": {append(bytes.Clone(good), 0), kvferry.ErrCorrupt},
			"magic": {set(0, 'X'), kvferry.ErrCorrupt}, "version": {set(4, 2), kvferry.ErrUnsupported},
			"algorithm": {set(5, 3), kvferry.ErrCorrupt}, "parts": {set(6, 1), kvferry.ErrCorrupt},
			"count": {set(8, good[8]+1), kvferry.ErrCorrupt}, "reserved": {set(15, 1), kvferry.ErrCorrupt},
			"same": {same, map[bool]error{true: kvferry.ErrCorrupt}[string(good[:4]) == "KVPI"]},
		} {
			b.m[d] = c.blob
			_, err := manifest.Decode(root, b.get)
			if c.want == nil {
				require.NoError(t, err, name)
			} else {
				require.ErrorIs(t, err, c.want, name)
			}
		}
		delete(b.m, d)
		_, err := manifest.Decode(root, b.get)
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		b.m[d] = good
	}
}

// TestDocumentBitFlips flips every bit of a document that is then stored under
// its new digest: the reader refuses it or reads exactly what it says.
func TestDocumentBitFlips(t *testing.T) {
	t.Parallel()
	b := newBlobs(t)
	_, doc, err := manifest.Encode(snapshotOf(3, 2), b.put)
	require.NoError(t, err)
	for bit := range 8 * len(doc) {
		flipped := bytes.Clone(doc)
		flipped[bit/8] ^= 1 << (bit % 8)
		root, err := b.put(flipped)
		require.NoError(t, err)
		s, err := manifest.Decode(root, b.get)
		if err == nil {
			_, again, err := manifest.Encode(s, b.put)
			require.NoError(t, err)
			require.Equal(t, string(flipped), string(again))
		}
	}
}

func TestDecodeGetErrors(t *testing.T) {
	t.Parallel()
	b, doc := stored(t)
	root := b.hasher.Sum([]byte(doc))
	lost := errors.New("connection lost")
	for k := range 5 {
		n := 0
		_, err := manifest.Decode(root, func(d digest.Digest, limit int) ([]byte, error) {
			if n++; n > k {
				return nil, lost
			}
			return b.get(d, limit)
		})
		if k < 4 {
			require.ErrorIs(t, err, lost)
		} else {
			require.NoError(t, err)
		}
	}
	_, err := manifest.Decode(b.hasher.Sum([]byte("other")), b.get)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	_, err = manifest.Decode(root, func(digest.Digest, int) ([]byte, error) { return nil, kvferry.ErrShortBuffer })
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

func FuzzDecode(f *testing.F) {
	b := newBlobs(f)
	_, doc, err := manifest.Encode(snapshotOf(3, 2), b.put)
	require.NoError(f, err)
	f.Add(doc)
	_, doc, err = manifest.Encode(snapshotOf(0, 1), b.put)
	require.NoError(f, err)
	f.Add(doc)
	f.Fuzz(func(t *testing.T, doc []byte) {
		root := b.hasher.Sum(doc)
		get := func(d digest.Digest, limit int) ([]byte, error) {
			if d == root {
				return doc, nil
			}
			if p, ok := b.m[d]; ok && len(p) <= limit {
				return p, nil
			}
			return nil, kvferry.ErrNotFound
		}
		s, err := manifest.Decode(root, get)
		if err != nil {
			require.True(t, errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported) || errors.Is(err, kvferry.ErrNotFound), err)
			return
		}
		again, out, err := manifest.Encode(s, func(p []byte) (digest.Digest, error) { return b.hasher.Sum(p), nil })
		require.NoError(t, err)
		require.Equal(t, string(doc), string(out))
		require.Equal(t, root, again)
		refs := 0
		require.NoError(t, manifest.References(root, get, func(digest.Digest) error { refs++; return nil }))
		require.Positive(t, refs)
	})
}
