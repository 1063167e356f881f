package pack

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// ruin is a small store to be damaged: two classes, two generations of the log,
// snapshots that share blobs, and a record that was quarantined.
type ruin struct {
	disk    *vfs.Disk
	plain   map[digest.Digest][]byte // of what is there
	cached  map[digest.Digest]bool
	gone    digest.Digest // quarantined
	entries []cas.Entry
	refs    map[digest.Digest][]digest.Digest
	most    int // how many blobs a damage of one place may cost after a repair
}

var ruinTime = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func ruinOptions(f vfs.FS) Options {
	return Options{
		MustExist: true, PackBytes: minPackBytes, BufferBytes: vfs.BlockBytes, Buffered: true,
		Clock: func() time.Time { return ruinTime }, fs: f,
	}
}

// buildRuin makes the store. Without rest its log says all, and there is no
// checkpoint.
func buildRuin(t testing.TB, rest bool) *ruin {
	t.Helper()
	ctx := context.Background()
	r := &ruin{disk: vfs.NewDisk(), plain: map[digest.Digest][]byte{}, cached: map[digest.Digest]bool{}, refs: map[digest.Digest][]digest.Digest{}}
	o := ruinOptions(r.disk.Process())
	o.MustExist = false
	s, err := Open("ruin", o)
	require.NoError(t, err)
	shared := r.commit(t, s, "one", 4, nil, "first", "also")
	bad := []byte(strings.Repeat("bad", 30))
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	r.gone = faultSum(bad)
	_, err = sess.Put(ctx, r.gone, bad)
	require.NoError(t, err)
	require.NoError(t, sess.Flush(ctx))
	require.NoError(t, sess.Abort(ctx))
	at, p, ok := s.st().find(r.gone)
	require.True(t, ok)
	flipBits(t, r.disk.Process(), fmt.Sprintf("packs/%016x.pack", p.id), (at.Offset()+81)*8)
	require.NoError(t, s.Quarantine(ctx, r.gone))
	there, err := s.Has(ctx, r.gone)
	require.NoError(t, err)
	require.False(t, there)
	r.cache(t, s, "hot", 3)
	if rest {
		require.NoError(t, s.checkpoint(ctx))
	}
	r.commit(t, s, "two", 3, shared[:2], "second")
	r.commit(t, s, "three", 2, nil)
	require.NoError(t, s.Catalog().SetName(ctx, "also", faultSum([]byte("root of two"))))
	r.cache(t, s, "warm", 2)
	r.entries, err = s.Catalog().Entries(ctx)
	require.NoError(t, err)
	require.Len(t, r.entries, 3)
	require.NoError(t, s.Close())
	return r
}

func ruinBytes(kind string, i int) []byte {
	if i%2 == 1 {
		return []byte(strings.Repeat(kind[:1], 400+i)) // shrinks to a few bytes
	}
	return fmt.Appendf(nil, "blob %d of %s", i, kind)
}

func (r *ruin) commit(t testing.TB, s *Store, kind string, n int, shared []digest.Digest, names ...string) []digest.Digest {
	t.Helper()
	ctx := context.Background()
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	all := slices.Clone(shared)
	for _, d := range shared {
		ok, err := sess.Has(ctx, d)
		require.NoError(t, err)
		require.True(t, ok)
	}
	put := func(b []byte) digest.Digest {
		d := faultSum(b)
		_, err := sess.Put(ctx, d, b)
		require.NoError(t, err)
		r.plain[d] = b
		all = append(all, d)
		return d
	}
	for i := range n {
		put(ruinBytes(kind, i))
	}
	root := put([]byte("root of " + kind))
	r.refs[root] = all
	require.NoError(t, sess.Commit(ctx, cas.Entry{Root: root, Format: cas.FormatNative, Created: ruinTime.Add(time.Duration(len(r.refs))), Names: names, Pages: int64(n)}))
	return all
}

func (r *ruin) cache(t testing.TB, s *Store, kind string, n int) {
	t.Helper()
	ctx := context.Background()
	sess, err := s.Begin(ctx, cas.SessionOptions{Class: cas.Cache})
	require.NoError(t, err)
	for i := range n {
		b := ruinBytes(kind, i)
		d := faultSum(b)
		_, err := sess.Put(ctx, d, b)
		require.NoError(t, err)
		r.plain[d], r.cached[d] = b, true
	}
	require.NoError(t, sess.Flush(ctx))
	require.NoError(t, sess.Abort(ctx))
}

// flipBits changes bits of a file in place.
func flipBits(t testing.TB, f vfs.FS, name string, bits ...int64) {
	t.Helper()
	file, err := f.Open(name, vfs.ReadWrite)
	require.NoError(t, err)
	for _, bit := range bits {
		var b [1]byte
		_, err = file.ReadAt(b[:], bit/8)
		require.NoError(t, err)
		b[0] ^= 1 << (bit % 8)
		_, err = file.WriteAt(b[:], bit/8)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
}

// files are the store's files whose names match, in order.
func files(d *vfs.Disk, pattern string) []string {
	var out []string
	for name := range d.Files() {
		if ok, _ := path.Match(pattern, name); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// same reports whether a store says exactly what the sound one did.
func (r *ruin) same(t testing.TB, s *Store) bool {
	t.Helper()
	ctx := context.Background()
	list, err := s.Catalog().Entries(ctx)
	if err != nil || !slices.EqualFunc(list, r.entries, sameEntry) {
		return false
	}
	return len(r.wrong(t, s)) == 0 && len(r.listed(s)) == len(r.plain)
}

func sameEntry(a, b cas.Entry) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// listed are the blobs that a store lists.
func (r *ruin) listed(s *Store) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for b, err := range s.Blobs(context.Background()) {
		if err == nil {
			out[b.Digest] = true
		}
	}
	return out
}

// wrong reads every blob and returns those that cannot be read. A wrong byte
// ends the test.
func (r *ruin) wrong(t testing.TB, s *Store) map[digest.Digest]error {
	t.Helper()
	rd, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	rd.KeepDamaged()
	out := map[digest.Digest]error{}
	for d, want := range r.plain {
		got, err := rd.ReadAll(context.Background(), d, 1<<20)
		if err != nil {
			out[d] = err
			continue
		}
		require.Equal(t, want, got, "a wrong byte was served")
	}
	_, err = rd.ReadAll(context.Background(), r.gone, 1<<20)
	require.Error(t, err, "what was quarantined was served")
	return out
}

func (r *ruin) references(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
	refs, ok := r.refs[e.Root]
	if !ok {
		return fmt.Errorf("snapshot %v: %w", e.Root, kvferry.ErrNotFound)
	}
	for _, d := range refs {
		if err := visit(d); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the files that match.
func remove(t testing.TB, d *vfs.Disk, pattern string) {
	t.Helper()
	f := d.Process()
	for _, name := range files(d, pattern) {
		require.NoError(t, f.Remove(name))
	}
}

// contentOf returns what is in all files.
func contentOf(t testing.TB, d *vfs.Disk) map[string]string {
	t.Helper()
	f, out := d.Process(), map[string]string{}
	for name, size := range maps.All(d.Files()) {
		file, err := f.Open(name, vfs.ReadOnly)
		require.NoError(t, err)
		b := make([]byte, size)
		_, err = file.ReadAt(b, 0)
		require.True(t, err == nil || endOfFile(err), name)
		require.NoError(t, file.Close())
		out[name] = string(b)
	}
	return out
}

// problems are what a check and a scrub find, leftovers left out.
func problems(t testing.TB, s *Store) []cas.Problem {
	t.Helper()
	var mu sync.Mutex
	var out []cas.Problem
	report := func(p cas.Problem) {
		mu.Lock()
		defer mu.Unlock()
		if !p.Leftover {
			out = append(out, p)
		}
	}
	require.NoError(t, s.Check(context.Background(), report))
	require.NoError(t, s.Scrub(context.Background(), cas.ScrubOptions{Report: report}))
	return out
}

func (r *ruin) collect() cas.CollectOptions { return cas.CollectOptions{References: r.references} }
