package castest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// testKey is the key of the suite's keyed digests.
func testKey() *digest.Key {
	k := digest.DeriveKey([]byte("castest"))
	return &k
}

// sum returns the digest of p with algorithm a.
func sum(t testing.TB, a digest.Algorithm, p []byte) digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, testKey())
	require.NoError(t, err)
	return h.Sum(p)
}

// noise returns n bytes that depend on the seed alone.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0x6b7666))
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, r.Uint64())
	}
	return p[:n]
}

// contents are kinds of plain bytes that codecs treat differently.
var contents = []struct {
	name string
	make func(n int) []byte
}{
	{"zero", func(n int) []byte { return make([]byte, n) }},
	{"constant", func(n int) []byte { return bytes.Repeat([]byte{0x3f}, n) }},
	{"pattern", func(n int) []byte { return bytes.Repeat([]byte{0x80, 0x3f}, n/2+1)[:n] }},
	{"text", func(n int) []byte { return []byte(strings.Repeat("pages of text, ", n/15+1)[:n]) }},
	{"noise", func(n int) []byte { return noise(uint64(n), n) }},
}

// values returns n bytes of bf16 values like those of a KV cache.
func values(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	p := make([]byte, 0, n)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint16(p, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	return p
}

// begin opens a session and aborts it at the end of the test.
func begin(t testing.TB, s cas.Store) cas.Session {
	t.Helper()
	return beginWith(t, s, cas.SessionOptions{Owner: "castest"})
}

func beginWith(t testing.TB, s cas.Store, o cas.SessionOptions) cas.Session {
	t.Helper()
	sess, err := s.Begin(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sess.Abort(context.Background()) }) // nothing to do in most tests
	return sess
}

// put stores p as a BLAKE3 blob.
func put(t testing.TB, sess cas.Session, p []byte) digest.Digest {
	t.Helper()
	d := sum(t, digest.BLAKE3, p)
	_, err := sess.Put(t.Context(), d, p)
	require.NoError(t, err)
	return d
}

// wantBlob requires that the blob d is p, in a buffer with canaries behind it.
func wantBlob(t testing.TB, s cas.Store, d digest.Digest, p []byte) {
	t.Helper()
	buf := bytes.Repeat([]byte{0xa5}, len(p)+32)
	n, err := s.Get(t.Context(), d, buf[:len(p)])
	require.NoError(t, err)
	require.Equal(t, len(p), n)
	require.True(t, bytes.Equal(p, buf[:n]), "content of %v", d)
	require.Equal(t, bytes.Repeat([]byte{0xa5}, 32), buf[len(p):], "bytes behind the buffer")
	has, err := s.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
}

// wantMissing requires that there is no blob d.
func wantMissing(t testing.TB, s cas.Store, d digest.Digest) {
	t.Helper()
	_, err := s.Get(t.Context(), d, make([]byte, 16))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	has, err := s.Has(t.Context(), d)
	require.NoError(t, err)
	require.False(t, has)
}

// snapshot is the suite's manifest: the digests of its blobs, one a line.
type snapshot struct {
	root  digest.Digest
	blobs map[digest.Digest][]byte // root included
}

// putSnapshot puts blobs and a manifest that lists them.
func putSnapshot(t testing.TB, sess cas.Session, blobs ...[]byte) snapshot {
	t.Helper()
	s := snapshot{blobs: map[digest.Digest][]byte{}}
	var lines []string
	for _, p := range blobs {
		d := put(t, sess, p)
		s.blobs[d] = p
		lines = append(lines, d.String())
	}
	slices.Sort(lines)
	manifest := []byte("castest manifest\n" + strings.Join(lines, "\n"))
	s.root = put(t, sess, manifest)
	s.blobs[s.root] = manifest
	return s
}

// entry returns a catalog entry of root. The time has nanoseconds on purpose.
func entry(root digest.Digest, created time.Time, names ...string) cas.Entry {
	return cas.Entry{
		Root: root, Format: cas.FormatNative, Created: created, Names: names,
		Pages: 7, Sequences: 3, Bytes: 12345,
	}
}

// day returns a time of day in the suite's calendar.
func day(n int) time.Time {
	return time.Date(2026, 3, 1+n, 10, 20, 30, 123456789, time.UTC)
}

// commit puts and commits a snapshot of the blobs in a session of its own.
func commit(t testing.TB, s cas.Store, created time.Time, names []string, blobs ...[]byte) snapshot {
	t.Helper()
	sess := begin(t, s)
	sn := putSnapshot(t, sess, blobs...)
	require.NoError(t, sess.Commit(t.Context(), entry(sn.root, created, names...)))
	return sn
}

// wantSnapshot requires that everything in sn can be read.
func wantSnapshot(t testing.TB, s cas.Store, sn snapshot) {
	t.Helper()
	for d, p := range sn.blobs {
		wantBlob(t, s, d, p)
	}
}

// roots returns the roots in the catalog, in its order.
func roots(t testing.TB, s cas.Store) []digest.Digest {
	t.Helper()
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	return rootsOf(entries)
}

func rootsOf(entries []cas.Entry) []digest.Digest {
	var out []digest.Digest
	for _, e := range entries {
		out = append(out, e.Root)
	}
	return out
}

// references reads the suite's manifests from s.
func references(s cas.Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		r, err := cas.NewReader(s, testKey())
		if err != nil {
			return err
		}
		manifest, err := r.ReadAll(ctx, e.Root, 1<<20)
		if err != nil {
			return fmt.Errorf("manifest %v: %w", e.Root, err)
		}
		if err := visit(e.Root); err != nil {
			return err
		}
		if e.Image.Valid() {
			if err := visit(e.Image); err != nil {
				return err
			}
		}
		for _, line := range strings.Split(string(manifest), "\n")[1:] {
			if line == "" {
				continue
			}
			d, err := digest.Parse(line)
			if err != nil {
				return err
			}
			if err := visit(d); err != nil {
				return err
			}
		}
		return nil
	}
}

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: day(0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
