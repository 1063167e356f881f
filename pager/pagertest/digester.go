package pagertest

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

func testDigester(t *testing.T, s *suite) {
	p := s.open(t)
	d, has := p.(pager.Digester)
	if lacks(t, has, "Digester") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	parts := s.g.Meta.Parts
	key := digest.DeriveKey([]byte("salt"))
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.KeyedBLAKE3, digest.SHA256} {
		k := &key
		if a != digest.KeyedBLAKE3 {
			k = nil
		}
		require.NoError(t, p.Pause(t.Context()))
		got := make([]digest.Digest, len(ids)*len(parts))
		err := d.DigestPages(t.Context(), a, k, ids, got)
		require.NoError(t, p.Resume(t.Context()))
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrUnsupported)
			continue
		}
		h, err := digest.NewHasher(a, k)
		require.NoError(t, err)
		for i := range ids {
			rest := bytesOf(s.g.Meta, 1+uint64(i))
			for j, part := range parts {
				require.Equal(t, h.Sum(rest[:part.Bytes]), got[i*len(parts)+j], "%v of page %d, part %d", a, i, j)
				rest = rest[part.Bytes:]
			}
		}
	}
	require.ErrorIs(t, d.DigestPages(t.Context(), digest.BLAKE3, nil, ids, make([]digest.Digest, len(ids)*len(parts)+1)), kvferry.ErrInvalid)
	one := make([]digest.Digest, len(parts))
	require.ErrorIs(t, d.DigestPages(t.Context(), digest.BLAKE3, nil, []pager.PageID{pager.PageID(s.g.Pages)}, one), kvferry.ErrNotFound)
	require.ErrorIs(t, d.DigestPages(t.Context(), 0, nil, nil, nil), kvferry.ErrUnsupported)
}

func testComparer(t *testing.T, s *suite) {
	p := s.open(t)
	c, has := p.(pager.Comparer)
	if lacks(t, has, "Comparer") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	if _, _, err := c.ComparePages(t.Context(), digest.BLAKE3, nil, nil, nil, nil, nil); errors.Is(err, kvferry.ErrUnsupported) {
		t.Log("no Comparer behind the method")
		return
	}
	key := digest.DeriveKey([]byte("salt"))
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.KeyedBLAKE3, digest.SHA256} {
		k := &key
		if a != digest.KeyedBLAKE3 {
			k = nil
		}
		x := &comparison{c: c, a: a, key: k, ids: ids, meta: s.g.Meta, want: sumsOf(t, s.g.Meta, a, k, len(ids))}
		require.NoError(t, p.Pause(t.Context()))
		supported := x.run(t)
		require.NoError(t, p.Resume(t.Context()))
		require.True(t, supported || a != digest.BLAKE3)
	}
	compareRefuses(t, s, c, ids)
	holds(t, p, ids, 1) // comparing changes nothing
}

// sumsOf returns the digests of n pages with the contents 1, 2 and so on.
func sumsOf(t *testing.T, m pager.Meta, a digest.Algorithm, key *digest.Key, n int) []digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, key)
	require.NoError(t, err)
	var sums []digest.Digest
	for i := range n {
		rest := bytesOf(m, 1+uint64(i))
		for _, part := range m.Parts {
			sums = append(sums, h.Sum(rest[:part.Bytes]))
			rest = rest[part.Bytes:]
		}
	}
	return sums
}

// comparison is pages and the digests that they have.
type comparison struct {
	c    pager.Comparer
	a    digest.Algorithm
	key  *digest.Key
	ids  []pager.PageID
	meta pager.Meta
	want []digest.Digest
}

// run asks about the pages with digests that differ in no page, in one page at
// a time, in every second and in all of them. It reports false if the
// algorithm is not supported.
func (x *comparison) run(t *testing.T) bool {
	t.Helper()
	if _, _, err := x.c.ComparePages(t.Context(), x.a, x.key, x.ids, x.want, nil, nil); err != nil {
		require.ErrorIs(t, err, kvferry.ErrUnsupported)
		return false
	}
	x.ask(t, func(int) bool { return false })
	x.ask(t, func(int) bool { return true })
	x.ask(t, func(i int) bool { return i%2 == 1 })
	for _, one := range []int{0, len(x.ids) / 2, len(x.ids) - 1} {
		x.ask(t, func(i int) bool { return i == one })
	}
	return true
}

// ask makes some part of the pages that differ reports another digest, or an
// invalid one, and expects to hear of exactly these pages.
func (x *comparison) ask(t *testing.T, differs func(i int) bool) {
	t.Helper()
	parts := len(x.meta.Parts)
	for _, wrong := range []string{"another", "invalid", "another algorithm's"} {
		want := append([]digest.Digest{}, x.want...)
		changed, sums := []int{7, 7}, []digest.Digest{{}} // what is there stays
		for i := range x.ids {
			if !differs(i) {
				continue
			}
			at := i*parts + i%parts // another part each time
			sum := want[at].Sum()
			switch wrong {
			case "another":
				sum[i%len(sum)] ^= 1 << (i % 8)
				want[at] = digest.New(x.a, sum)
			case "invalid":
				want[at] = digest.Digest{}
			default:
				want[at] = digest.New(other(x.a), sum)
			}
			changed = append(changed, i)
			sums = append(sums, x.want[i*parts:(i+1)*parts]...)
		}
		asked := append([]digest.Digest{}, want...)
		gotChanged, gotSums, err := x.c.ComparePages(t.Context(), x.a, x.key, x.ids, want, []int{7, 7}, []digest.Digest{{}})
		require.NoError(t, err)
		require.Equal(t, changed, gotChanged, "%s digest", wrong)
		require.Equal(t, sums, gotSums, "%s digest", wrong)
		require.True(t, slices.Equal(asked, want), "what is asked about is only read")
	}
}

func other(a digest.Algorithm) digest.Algorithm {
	if a == digest.BLAKE3 {
		return digest.SHA256
	}
	return digest.BLAKE3
}

func compareRefuses(t *testing.T, s *suite, c pager.Comparer, ids []pager.PageID) {
	t.Helper()
	parts := len(s.g.Meta.Parts)
	want := make([]digest.Digest, len(ids)*parts+1)
	refused := func(target error, a digest.Algorithm, ids []pager.PageID, want []digest.Digest) {
		t.Helper()
		changed, sums, err := c.ComparePages(t.Context(), a, nil, ids, want, []int{5}, nil)
		require.ErrorIs(t, err, target)
		require.Equal(t, []int{5}, changed, "an error appends nothing")
		require.Empty(t, sums)
	}
	refused(kvferry.ErrInvalid, digest.BLAKE3, ids, want)
	if len(ids) > 0 {
		refused(kvferry.ErrInvalid, digest.BLAKE3, ids, want[:len(ids)*parts-1])
	}
	absent := append(append([]pager.PageID{}, ids...), pager.PageID(s.g.Pages))
	refused(kvferry.ErrNotFound, digest.BLAKE3, absent, make([]digest.Digest, len(absent)*parts))
	refused(kvferry.ErrUnsupported, 0, nil, nil)
}
