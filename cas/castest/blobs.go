package castest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/digest"
)

var blobTests = []test{
	{name: "round trips", run: testRoundTrips},
	{name: "modes", run: testModes},
	{name: "large", run: testLarge},
	{name: "put is idempotent", run: testIdempotent},
	{name: "put does not keep the caller's bytes", run: testPutCopies},
	{name: "short and long buffers", run: testBuffers},
	{name: "missing", run: testMissing},
	{name: "invalid digest", run: testInvalidDigest},
	{name: "algorithms are apart", run: testAlgorithmsApart},
	{name: "concurrent puts of one blob", run: testConcurrentPuts},
	{name: "concurrent puts and gets", run: testConcurrentMix},
}

// testRoundTrips stores every kind of content in lengths around boundaries
// with every algorithm.
func testRoundTrips(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	sizes := []int{0, 1, 2, 7, 8, 9, 31, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1000,
		4095, 4096, 4097, 65535, 65536, 65537}
	for a := digest.BLAKE3; a.Valid(); a++ {
		for _, kind := range contents {
			for _, n := range sizes {
				p := kind.make(n)
				d := sum(t, a, p)
				before, err := s.Has(t.Context(), d)
				require.NoError(t, err)
				r, err := sess.Put(t.Context(), d, p)
				require.NoError(t, err)
				require.Equal(t, !before, r.New, "%s of %d bytes", kind.name, n)
				wantBlob(t, s, d, p)
			}
		}
	}
}

// testModes stores with every hint; what a codec does is never seen but in what
// Put tells of it. There are blobs of the shape that the hint tells, and others.
func testModes(t *testing.T, c Config) {
	s := c.open(t)
	for _, m := range codec.Modes() {
		shape := planes.Shape{Segments: 2, Rows: 100, Cols: 50}
		hint := codec.Hint{Mode: m, Elem: codec.BF16, ElemBytes: 2, RowElems: shape.Cols, Segments: shape.Segments, Tuning: new(codec.Tuning)}
		require.NoError(t, hint.Tuning.Expect(codec.BF16, shape))
		sess := beginWith(t, s, cas.SessionOptions{Hint: hint})
		for _, kind := range contents {
			for _, n := range []int{shape.Bytes(), shape.Bytes() + 1} {
				p := kind.make(n)
				p[n-1] = byte(m) // so that no mode finds another one's blob
				wantBlob(t, s, put(t, sess, p), p)
			}
		}
		p := values(shape.Bytes(), uint64(m))
		r, err := sess.Put(t.Context(), sum(t, digest.BLAKE3, p), p)
		require.NoError(t, err)
		wantBlob(t, s, sum(t, digest.BLAKE3, p), p)
		if r.Codec != 0 { // the store codes what it keeps
			require.Equal(t, m == codec.OnlyRaw, r.Codec == codec.Raw, "%v as %v", m, r.Codec)
			require.Equal(t, m == codec.OnlyRaw, r.StoredBytes > int64(len(p)))
		}
		require.NoError(t, sess.Flush(t.Context()))
		require.NoError(t, sess.Abort(t.Context()))
	}
}

func testLarge(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	for _, n := range []int{128<<10 - 1, 128 << 10, 128<<10 + 1, 1<<20 + 3, c.MaxBlobBytes} {
		if n > c.MaxBlobBytes {
			continue
		}
		for _, kind := range contents {
			p := kind.make(n)
			wantBlob(t, s, put(t, sess, p), p)
		}
	}
}

func testIdempotent(t *testing.T, c Config) {
	s := c.open(t)
	p := noise(1, 3000)
	d := sum(t, digest.BLAKE3, p)
	sess := begin(t, s)
	first, err := sess.Put(t.Context(), d, p)
	require.NoError(t, err)
	require.True(t, first.New)
	require.Positive(t, first.StoredBytes)
	for _, again := range []cas.Session{sess, begin(t, s)} {
		r, err := again.Put(t.Context(), d, p)
		require.NoError(t, err)
		require.Equal(t, cas.PutResult{}, r)
	}
	wantBlob(t, s, d, p)
}

func testPutCopies(t *testing.T, c Config) {
	s := c.open(t)
	p := noise(2, 5000)
	mine := bytes.Clone(p)
	d := put(t, begin(t, s), mine)
	clear(mine)
	wantBlob(t, s, d, p)
}

// testBuffers reads with buffers that are too short and longer than needed.
func testBuffers(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	for _, kind := range contents {
		p := kind.make(4000)
		d := put(t, sess, p)
		for _, n := range []int{0, 1, 3999} {
			buf := bytes.Repeat([]byte{0xa5}, 4096)
			got, err := s.Get(t.Context(), d, buf[:n])
			require.ErrorIs(t, err, kvferry.ErrShortBuffer, "%s into %d", kind.name, n)
			require.Contains(t, []int{0, 4000}, got, "announced length")
			require.Equal(t, bytes.Repeat([]byte{0xa5}, 4096-n), buf[n:], "bytes behind the buffer")
		}
		buf := make([]byte, 5000)
		got, err := s.Get(t.Context(), d, buf)
		require.NoError(t, err)
		require.Equal(t, p, buf[:got])
	}
	empty := put(t, sess, nil)
	got, err := s.Get(t.Context(), empty, nil)
	require.NoError(t, err)
	require.Zero(t, got)
}

func testMissing(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	for a := digest.BLAKE3; a.Valid(); a++ {
		d := sum(t, a, []byte("never put"))
		wantMissing(t, s, d)
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.False(t, has)
	}
	wantMissing(t, s, sum(t, digest.BLAKE3, nil))
}

func testInvalidDigest(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	var zero digest.Digest
	_, err := s.Get(t.Context(), zero, make([]byte, 8))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = s.Has(t.Context(), zero)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = sess.Has(t.Context(), zero)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = sess.Put(t.Context(), zero, []byte("x"))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorIs(t, sess.Commit(t.Context(), entry(zero, day(0))), kvferry.ErrInvalid)
}

// testAlgorithmsApart: the same 32 bytes under another algorithm are another
// blob.
func testAlgorithmsApart(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	p := []byte("one of a kind")
	d := put(t, sess, p)
	for a := digest.BLAKE3; a.Valid(); a++ {
		other := digest.New(a, d.Sum())
		if other == d {
			continue
		}
		wantMissing(t, s, other)
		has, err := sess.Has(t.Context(), other)
		require.NoError(t, err)
		require.False(t, has)
	}
}

func testConcurrentPuts(t *testing.T, c Config) {
	s := c.open(t)
	for round := range 8 {
		p := noise(uint64(round), 10000)
		d := sum(t, digest.BLAKE3, p)
		sessions := []cas.Session{begin(t, s), begin(t, s)}
		var news [16]bool
		var errs [16]error
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range news {
			wg.Go(func() {
				<-start
				var r cas.PutResult
				r, errs[i] = sessions[i%2].Put(t.Context(), d, p)
				news[i] = r.New
			})
		}
		close(start)
		wg.Wait()
		count := 0
		for i := range news {
			require.NoError(t, errs[i])
			if news[i] {
				count++
			}
		}
		require.Equal(t, 1, count, "how many puts were told that the blob is new")
		wantBlob(t, s, d, p)
	}
}

func testConcurrentMix(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	const workers, blobs = 8, 40
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() { errs <- putAndGet(t, s, sess, w, blobs) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

// putAndGet puts blobs of which half are every worker's and half its own, and
// reads each back at once.
func putAndGet(t *testing.T, s cas.Store, sess cas.Session, worker, blobs int) error {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for i := range blobs {
		seed := uint64(i)
		if i%2 == 0 {
			seed = uint64(worker*1000 + i + 1)
		}
		p := noise(seed, 500+i)
		d := h.Sum(p)
		if _, err := sess.Put(t.Context(), d, p); err != nil {
			return err
		}
		n, err := s.Get(t.Context(), d, buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(buf[:n], p) {
			return fmt.Errorf("blob %d of worker %d reads back differently", i, worker)
		}
	}
	return nil
}
