package mem_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
)

func open(t testing.TB, o mem.Options) *mem.Store {
	s, err := mem.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // some tests close it
	return s
}

func begin(t testing.TB, s *mem.Store) cas.Session {
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	return sess
}

// numbered returns a digest of nothing in particular.
func numbered(n int) digest.Digest {
	var sum [digest.Size]byte
	binary.LittleEndian.PutUint64(sum[:], uint64(n)*0x9e3779b97f4a7c15)
	return digest.New(digest.BLAKE3, sum)
}

// TestPhysicalBytes: the store counts as ProcessFork's store in memory does,
// here for its smallest vector of two parts and a manifest.
func TestPhysicalBytes(t *testing.T) {
	t.Parallel()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	k, v := []byte{0x41, 0xb9, 0xda, 0x03}, []byte{0xec, 0x3b, 0xe7, 0xbb}
	manifest := fmt.Sprintf(`{"layout":"paged-batchinvariant-v1","page_size_tokens":2,"n_layers":1,"n_heads":1,`+
		`"head_dim":2,"dtype":"fp8e4m3","pages":[{"ix":0,"k":"%v","v":"%v"}],"logical_seqs":[`+
		`{"id":"seq-seed-0000000000000000","page_ixs":[0],"fill_in_last_page":1}]}`, h.Sum(k), h.Sum(v))
	s := open(t, mem.Options{})
	sess := begin(t, s)
	for range 2 {
		for _, p := range [][]byte{k, v, []byte(manifest)} {
			_, err := sess.Put(t.Context(), h.Sum(p), p)
			require.NoError(t, err)
		}
	}
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, st.Blobs)
	require.EqualValues(t, 385, st.StoredBytes)
	require.Equal(t, "sha256:9a3b177376776ace9692eae74e03c77c26fb7cf594296f109a74976668ab4508", h.Sum([]byte(manifest)).String())
}

// TestNoAllocations: calls allocate nothing once tables are large enough. Not
// parallel: AllocsPerRun counts every goroutine's.
func TestNoAllocations(t *testing.T) {
	s := open(t, mem.Options{ReserveBytes: 1, ReserveBlobs: 1 << 14})
	sess := begin(t, s)
	ctx := context.Background()
	plain, dst := make([]byte, 2048), make([]byte, 2048)
	n, failed := 0, false
	check := func(ok bool, err error) { failed = failed || !ok || err != nil }
	put := func() {
		n++
		r, err := sess.Put(ctx, numbered(n), plain)
		check(r.New, err)
	}
	for range 4000 { // lists grow by doubling: the next thousand fit
		put()
	}
	require.Zero(t, testing.AllocsPerRun(1000, put), "put of new blobs")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, err := sess.Put(ctx, numbered(7), plain)
		check(true, err)
	}), "put of a blob that is there")
	require.Zero(t, testing.AllocsPerRun(1000, func() { check(sess.Has(ctx, numbered(8))) }), "has")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, err := s.Get(ctx, numbered(9), dst)
		check(true, err)
	}), "get")
	if !raceEnabled { // the race detector makes sync.Pool drop objects
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			v, err := s.View(ctx, numbered(10))
			check(err == nil && len(v.Bytes()) == 2048, err)
			v.Release()
		}), "view")
	}
	require.False(t, failed)
}

// TestHeapStaysSmall: blobs lie outside the Go heap.
func TestHeapStaysSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := open(t, mem.Options{})
	sess := begin(t, s)
	plain := make([]byte, 64<<10)
	for i := range 512 {
		_, err := sess.Put(t.Context(), numbered(i), plain)
		require.NoError(t, err)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20), "bytes of heap for 32 MiB of blobs")
}

func TestReleaseTwice(t *testing.T) {
	t.Parallel()
	s := open(t, mem.Options{})
	_, err := begin(t, s).Put(t.Context(), numbered(1), []byte("x"))
	require.NoError(t, err)
	v, err := s.View(t.Context(), numbered(1))
	require.NoError(t, err)
	v.Release()
	require.Panics(t, v.Release)
}

// TestRescuedDuringCollection: a snapshot that the policy drops is named, and
// another committed again, while the collection marks. Both stay, whole.
func TestRescuedDuringCollection(t *testing.T) {
	t.Parallel()
	s := open(t, mem.Options{})
	commit := func(i int) {
		sess := begin(t, s)
		_, err := sess.Put(t.Context(), numbered(i), []byte{byte(i)})
		require.NoError(t, err)
		require.NoError(t, sess.Commit(t.Context(), cas.Entry{
			Root: numbered(i), Format: cas.FormatNative, Created: time.Unix(int64(i), 0),
		}))
	}
	for i := 1; i <= 4; i++ {
		commit(i)
	}
	rescued := false
	r, err := s.Collect(t.Context(), cas.CollectOptions{
		KeepLast: 1,
		References: func(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
			if !rescued {
				rescued = true
				require.NoError(t, s.Catalog().SetName(t.Context(), "wanted", numbered(1)))
				commit(2)
			}
			return visit(e.Root)
		},
	})
	require.NoError(t, err)
	require.Len(t, r.Dropped, 1)
	require.Equal(t, numbered(3), r.Dropped[0].Root)
	require.Len(t, r.Kept, 3)
	require.EqualValues(t, 1, r.Deleted)
	for i := 1; i <= 4; i++ {
		has, err := s.Has(t.Context(), numbered(i))
		require.NoError(t, err)
		require.Equal(t, i != 3, has, "blob %d", i)
	}
}

// TestSessionEndsLate: a session that finds a blob, and ends while a
// collection marks, keeps it through that collection and no longer.
func TestSessionEndsLate(t *testing.T) {
	t.Parallel()
	s := open(t, mem.Options{})
	keep := begin(t, s)
	_, err := keep.Put(t.Context(), numbered(1), []byte("root"))
	require.NoError(t, err)
	require.NoError(t, keep.Commit(t.Context(), cas.Entry{Root: numbered(1), Format: cas.FormatNative}))
	sess := begin(t, s)
	_, err = sess.Put(t.Context(), numbered(2), []byte("blob"))
	require.NoError(t, err)
	o := cas.CollectOptions{References: func(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		require.NoError(t, sess.Abort(t.Context()))
		return visit(e.Root)
	}}
	r, err := s.Collect(t.Context(), o)
	require.NoError(t, err)
	require.Zero(t, r.Deleted)
	r, err = s.Collect(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, 1, r.Deleted)
}
