package manifest_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// blobs is a store in memory that hashes what it takes and what it gives.
type blobs struct {
	hasher *digest.Hasher
	m      map[digest.Digest][]byte
	gets   int
}

func newBlobs(tb testing.TB) *blobs { return newBlobsOf(tb, digest.BLAKE3, nil) }

func newBlobsOf(tb testing.TB, alg digest.Algorithm, key *digest.Key) *blobs {
	tb.Helper()
	h, err := digest.NewHasher(alg, key)
	require.NoError(tb, err)
	return &blobs{hasher: h, m: map[digest.Digest][]byte{}}
}

func (b *blobs) put(plain []byte) (digest.Digest, error) {
	d := b.hasher.Sum(plain)
	if _, ok := b.m[d]; !ok {
		b.m[d] = append([]byte(nil), plain...)
	}
	return d, nil
}

func (b *blobs) get(d digest.Digest, limit int) ([]byte, error) {
	b.gets++
	p, ok := b.m[d]
	switch {
	case !ok:
		return nil, fmt.Errorf("no blob %v: %w", d, kvferry.ErrNotFound)
	case len(p) > limit:
		return nil, fmt.Errorf("blob %v has %d bytes: %w", d, len(p), kvferry.ErrShortBuffer)
	}
	return p, nil
}

// sumOf makes a digest that differs for every page and part.
func sumOf(alg digest.Algorithm, page, part, salt int) digest.Digest {
	var s [digest.Size]byte
	binary.LittleEndian.PutUint64(s[:], uint64(page)*0x9E3779B97F4A7C15)
	binary.LittleEndian.PutUint64(s[8:], uint64(part))
	binary.LittleEndian.PutUint64(s[16:], uint64(salt))
	return digest.New(alg, s)
}

// groupOf returns a group of n pages of two parts in seqs sequences, which all
// begin with page 0.
func groupOf(name string, n, seqs int) manifest.Group {
	m, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	if err != nil {
		panic(err)
	}
	g := manifest.Group{Name: name, Meta: m, Table: manifest.NewTable(digest.BLAKE3, n, 2)}
	for i := range n {
		g.Table.Set(i, 0, sumOf(digest.BLAKE3, i, 0, 0))
		g.Table.Set(i, 1, sumOf(digest.BLAKE3, i, 1, 0))
		g.Indices = append(g.Indices, pager.PageID(n-1-i))
	}
	for i := range seqs {
		s := manifest.Sequence{ID: fmt.Sprintf("request-%06d", i), FillInLastPage: uint32(i % 16), Pages: []uint32{}}
		if n > 0 {
			s.Pages = append(s.Pages, 0)
		}
		for p := i * n / seqs; p < (i+1)*n/seqs; p++ {
			if p > 0 {
				s.Pages = append(s.Pages, uint32(p))
			}
		}
		g.Sequences = append(g.Sequences, s)
	}
	return g
}

func snapshotOf(n, seqs int) *manifest.Snapshot {
	return &manifest.Snapshot{
		Identity: identity.Identity{Model: "tiny", Weights: "r1", Tokenizer: "t1", Tenant: "a", Rank: 1, World: 2},
		Groups:   []manifest.Group{groupOf("", n, seqs)},
	}
}
