package cas_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
)

// plainStore hides all abilities of a store but those of cas.Store, counts
// calls of Get and lets tests replace it.
type plainStore struct {
	cas.Store
	gets int
	get  func(dst []byte) (int, error) // nil: the store's
}

func (p *plainStore) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	p.gets++
	if p.get != nil {
		return p.get(dst)
	}
	return p.Store.Get(ctx, d, dst)
}

// quarantining is a plainStore that can set blobs aside.
type quarantining struct {
	plainStore
	err   error
	aside []digest.Digest
}

func (q *quarantining) Quarantine(_ context.Context, d digest.Digest) error {
	q.aside = append(q.aside, d)
	return q.err
}

func key() *digest.Key {
	k := digest.DeriveKey([]byte("reader"))
	return &k
}

func sum(t *testing.T, a digest.Algorithm, p []byte) digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, key())
	require.NoError(t, err)
	return h.Sum(p)
}

// fixture is a store with a sound blob of every algorithm and a wrong one.
type fixture struct {
	store *mem.Store
	plain []byte
	good  []digest.Digest
	bad   digest.Digest
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	s, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	f := fixture{store: s, plain: bytes.Repeat([]byte("page"), 1000)}
	for a := digest.BLAKE3; a.Valid(); a++ {
		d := sum(t, a, f.plain)
		f.good = append(f.good, d)
		_, err := sess.Put(t.Context(), d, f.plain)
		require.NoError(t, err)
	}
	f.bad = sum(t, digest.BLAKE3, []byte("something else"))
	_, err = sess.Put(t.Context(), f.bad, f.plain)
	require.NoError(t, err)
	return f
}

func reader(t *testing.T, s cas.Store) *cas.Reader {
	t.Helper()
	r, err := cas.NewReader(s, key())
	require.NoError(t, err)
	return r
}

func TestReaderGet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, s := range []cas.Store{f.store, &plainStore{Store: f.store}} {
		r := reader(t, s)
		for _, d := range f.good {
			dst := make([]byte, 5000)
			n, err := r.Get(t.Context(), d, dst)
			require.NoError(t, err)
			require.Equal(t, f.plain, dst[:n])
			n, err = r.Get(t.Context(), d, dst[:3999])
			require.ErrorIs(t, err, kvferry.ErrShortBuffer)
			require.Equal(t, 4000, n)
		}
		_, err := r.Get(t.Context(), sum(t, digest.BLAKE3, []byte("missing")), nil)
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		_, err = r.Get(t.Context(), digest.Digest{}, nil)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestReaderGetCorrupt: wrong bytes are not handed out, and their blob is set
// aside.
func TestReaderGetCorrupt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	dst := bytes.Repeat([]byte{0xa5}, 5000)
	_, err := reader(t, &plainStore{Store: f.store}).Get(t.Context(), f.bad, dst)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Equal(t, make([]byte, 4000), dst[:4000])
	has, err := f.store.Has(t.Context(), f.bad)
	require.NoError(t, err)
	require.True(t, has, "this store cannot set aside")

	copy(dst, bytes.Repeat([]byte{0xa5}, 5000))
	_, err = reader(t, f.store).Get(t.Context(), f.bad, dst)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Equal(t, make([]byte, 4000), dst[:4000])
	has, err = f.store.Has(t.Context(), f.bad)
	require.NoError(t, err)
	require.False(t, has)
	_, err = reader(t, f.store).Get(t.Context(), f.bad, dst)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestReaderStoreSaysCorrupt: the store found the damage while decoding, after
// it had written part of the buffer.
func TestReaderStoreSaysCorrupt(t *testing.T) {
	t.Parallel()
	q := &quarantining{plainStore: plainStore{get: func(dst []byte) (int, error) {
		copy(dst, "half decoded")
		return 0, kvferry.ErrCorrupt
	}}}
	d := sum(t, digest.BLAKE3, []byte("x"))
	dst := make([]byte, 100)
	n, err := reader(t, q).Get(t.Context(), d, dst)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Zero(t, n)
	require.Equal(t, make([]byte, 100), dst)
	require.Equal(t, []digest.Digest{d}, q.aside)
}

// TestReaderQuarantineFails: the damage is reported whatever becomes of
// setting it aside; only failures that tell something new are added.
func TestReaderQuarantineFails(t *testing.T) {
	t.Parallel()
	failure := errors.New("disk is on fire")
	for _, x := range []struct {
		err   error
		shown bool
	}{{nil, false}, {kvferry.ErrNotFound, false}, {kvferry.ErrReadOnly, false}, {failure, true}} {
		q := &quarantining{err: x.err, plainStore: plainStore{get: func(dst []byte) (int, error) {
			return copy(dst, "wrong"), nil
		}}}
		_, err := reader(t, q).Get(t.Context(), sum(t, digest.BLAKE3, []byte("right")), make([]byte, 10))
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.Len(t, q.aside, 1)
		if x.err != nil {
			require.Equal(t, x.shown, errors.Is(err, x.err), "%v", x.err)
		}
	}
}

// TestReaderSparesOthers: only damage is set aside, no other failure.
func TestReaderSparesOthers(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{kvferry.ErrNotFound, kvferry.ErrUnsupported, kvferry.ErrClosed, context.Canceled} {
		q := &quarantining{plainStore: plainStore{get: func([]byte) (int, error) { return 0, cause }}}
		_, err := reader(t, q).Get(t.Context(), sum(t, digest.BLAKE3, nil), nil)
		require.ErrorIs(t, err, cause)
		require.Empty(t, q.aside)
	}
}

// TestReaderWithoutKey: keyed digests cannot be checked, which is no damage.
func TestReaderWithoutKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, err := cas.NewReader(f.store, nil)
	require.NoError(t, err)
	d := sum(t, digest.KeyedBLAKE3, f.plain)
	dst := make([]byte, 4000)
	_, err = r.Get(t.Context(), d, dst)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.Equal(t, make([]byte, 4000), dst, "unchecked bytes are not handed out")
	require.ErrorIs(t, r.Checked(t.Context(), d, dst, func([]byte) error {
		t.Error("used unchecked bytes")
		return nil
	}), kvferry.ErrUnsupported)
	has, err := f.store.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
}

func TestReaderChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, s := range map[string]cas.Store{"view": f.store, "copy": &plainStore{Store: f.store}} {
		r := reader(t, s)
		scratch := bytes.Repeat([]byte{0xa5}, 4000)
		for _, d := range f.good {
			used := 0
			require.NoError(t, r.Checked(t.Context(), d, scratch, func(p []byte) error {
				used++
				require.Equal(t, f.plain, p)
				require.Equal(t, name == "copy", &p[0] == &scratch[0], "where the bytes lie")
				return nil
			}))
			require.Equal(t, 1, used)
		}
		failure := errors.New("of the caller")
		require.ErrorIs(t, r.Checked(t.Context(), f.good[0], scratch, func([]byte) error { return failure }), failure)
		unused := func([]byte) error { t.Error("used"); return nil }
		require.ErrorIs(t, r.Checked(t.Context(), sum(t, digest.BLAKE3, nil), scratch, unused), kvferry.ErrNotFound)
	}
	unused := func([]byte) error { t.Error("used"); return nil }
	copying := reader(t, &plainStore{Store: f.store})
	require.ErrorIs(t, copying.Checked(t.Context(), f.good[0], make([]byte, 10), unused), kvferry.ErrShortBuffer)
	require.ErrorIs(t, copying.Checked(t.Context(), f.bad, make([]byte, 4000), unused), kvferry.ErrCorrupt)
	viewing := reader(t, f.store)
	require.ErrorIs(t, viewing.Checked(t.Context(), f.bad, nil, unused), kvferry.ErrCorrupt)
	has, err := f.store.Has(t.Context(), f.bad)
	require.NoError(t, err)
	require.False(t, has, "set aside")
}

// TestReadAll: blobs around the sizes of its buffers and limits.
func TestReadAll(t *testing.T) {
	t.Parallel()
	s, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	silent := &plainStore{Store: s} // tells no length of what does not fit
	r := map[string]*cas.Reader{"telling": reader(t, s), "silent": reader(t, silent)}
	for _, size := range []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000, 1 << 20} {
		plain := bytes.Repeat([]byte{byte(size), 7, 9}, size/3+1)[:size]
		d := sum(t, digest.BLAKE3, plain)
		_, err := sess.Put(t.Context(), d, plain)
		require.NoError(t, err)
		silent.get = func(dst []byte) (int, error) {
			n, err := s.Get(t.Context(), d, dst)
			if err != nil {
				n = 0
			}
			return n, err
		}
		for name, r := range r {
			for _, limit := range []int{size, size + 1, 2 << 20} {
				got, err := r.ReadAll(t.Context(), d, limit)
				require.NoError(t, err, "%s: %d within %d", name, size, limit)
				require.True(t, bytes.Equal(plain, got))
			}
			for _, limit := range []int{0, 1, size / 2, size - 1} {
				if limit < 0 || limit >= size {
					continue
				}
				_, err := r.ReadAll(t.Context(), d, limit)
				require.ErrorIs(t, err, kvferry.ErrShortBuffer, "%s: %d within %d", name, size, limit)
			}
		}
	}
	_, err = r["telling"].ReadAll(t.Context(), sum(t, digest.BLAKE3, []byte("missing")), 100)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestReadAllIsBounded: an announced length beyond the limit is refused
// without room for it or another read.
func TestReadAllIsBounded(t *testing.T) {
	t.Parallel()
	p := &plainStore{get: func([]byte) (int, error) { return 1 << 50, kvferry.ErrShortBuffer }}
	_, err := reader(t, p).ReadAll(t.Context(), sum(t, digest.BLAKE3, nil), 1<<40)
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Equal(t, 1, p.gets)
}

func TestReadAllCorrupt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got, err := reader(t, f.store).ReadAll(t.Context(), f.bad, 1<<20)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Nil(t, got)
}

func TestFormat(t *testing.T) {
	t.Parallel()
	require.True(t, cas.FormatNative.Valid())
	require.True(t, cas.FormatProcessFork.Valid())
	require.False(t, cas.Format("").Valid())
}
