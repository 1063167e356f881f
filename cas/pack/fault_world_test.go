package pack

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// faultBytes returns the content of blob i of a kind, always the same.
func faultBytes(kind string, i int) []byte {
	var seed [32]byte
	copy(seed[:24], kind)
	binary.LittleEndian.PutUint64(seed[24:], uint64(i))
	c := rand.NewChaCha8(seed)
	p := make([]byte, 500+c.Uint64()%9000)
	_, _ = c.Read(p) // it never fails
	return p
}

var faultHasher = sync.OnceValue(func() *digest.Hasher {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err)
	}
	return h
})

var faultHashMu sync.Mutex

func faultSum(p []byte) digest.Digest {
	faultHashMu.Lock()
	defer faultHashMu.Unlock()
	return faultHasher().Sum(p)
}

// faultClock is a clock that a test turns.
type faultClock struct {
	mu  sync.Mutex
	now time.Time
}

func newFaultClock() *faultClock {
	return &faultClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *faultClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *faultClock) Turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// faultWorld is a disk, what its stores were asked for, and what they
// acknowledged.
type faultWorld struct {
	t     testing.TB
	disk  *vfs.Disk
	fs    vfs.FS // of the process under test
	clock *faultClock
	s     *Store // the one under test; nil: it could not be opened
	alone bool   // no other process uses the disk, which would fail them, too

	refs  map[digest.Digest][]digest.Digest // of every snapshot that was ever tried
	plain map[digest.Digest][]byte
	there map[digest.Digest]bool   // snapshots: true must be there, false must not; others may
	names map[string]digest.Digest // that must be there
	errs  []error                  // of the step that runs
}

func newFaultWorld(t testing.TB) *faultWorld {
	d := vfs.NewDisk()
	return &faultWorld{
		t: t, disk: d, clock: newFaultClock(),
		refs: map[digest.Digest][]digest.Digest{}, plain: map[digest.Digest][]byte{},
		there: map[digest.Digest]bool{}, names: map[string]digest.Digest{},
	}
}

func (w *faultWorld) options(f vfs.FS) Options {
	return Options{
		PackBytes: minPackBytes, BufferBytes: 16 << 10, CacheBytes: 256 << 10, RepackDead: 0.05,
		Clock: w.clock.Now, fs: f,
	}
}

// note remembers an error of the step that runs, and reports whether there was
// none.
func (w *faultWorld) note(err error) bool {
	if err != nil {
		w.errs = append(w.errs, err)
	}
	return err == nil
}

// content returns blob i of a kind.
func (w *faultWorld) content(kind string, i int) ([]byte, digest.Digest) {
	p := faultBytes(kind, i)
	d := faultSum(p)
	w.plain[d] = p
	return p, d
}

// capture stores a snapshot of the blobs from i to before n of a kind, and
// those of another snapshot, which it finds.
func (w *faultWorld) capture(ctx context.Context, s *Store, kind string, n int, shared []digest.Digest, names ...string) {
	rootBytes, root := w.content(kind, 0)
	refs := []digest.Digest{root}
	sess, err := s.Begin(ctx, cas.SessionOptions{Owner: kind})
	if !w.note(err) {
		return
	}
	defer func() { w.note(sess.Abort(context.WithoutCancel(ctx))) }()
	_, err = sess.Put(ctx, root, rootBytes)
	good := w.note(err)
	for i := 1; i < n; i++ {
		p, d := w.content(kind, i)
		_, err := sess.Put(ctx, d, p)
		good = w.note(err) && good
		refs = append(refs, d)
		if i == n/2 {
			good = w.note(sess.Flush(ctx)) && good
		}
	}
	for _, d := range shared {
		ok, err := sess.Has(ctx, d)
		if w.note(err) && !ok || err != nil {
			_, err := sess.Put(ctx, d, w.plain[d])
			good = w.note(err) && good
		}
		refs = append(refs, d)
	}
	if good {
		w.commit(ctx, s, sess, root, refs, names)
	}
}

func (w *faultWorld) commit(ctx context.Context, s *Store, sess cas.Session, root digest.Digest, refs []digest.Digest, names []string) {
	w.refs[root] = refs
	before := w.listed(s)
	if !w.there[root] {
		delete(w.there, root)
	}
	for _, name := range names {
		delete(w.names, name)
	}
	err := sess.Commit(ctx, cas.Entry{Root: root, Format: cas.FormatNative, Created: w.clock.Now(), Names: names, Pages: int64(len(refs))})
	if !w.note(err) {
		// Ending the session may fail after the commit; then both are told.
		if after := w.listed(s); before != nil && after != nil && !slices.Contains(before, root) {
			require.NotContains(w.t, after, root, "a snapshot is in the catalog although its commit failed: %v", err)
		}
		return
	}
	w.there[root] = true
	for _, name := range names {
		w.names[name] = root
	}
}

// listed returns the roots in the catalog, or nil if that cannot be told.
func (w *faultWorld) listed(s *Store) []digest.Digest {
	list, err := s.Catalog().Entries(context.Background())
	if !w.note(err) {
		return nil
	}
	out := make([]digest.Digest, 0, len(list))
	for _, e := range list {
		out = append(out, e.Root)
	}
	return out
}

// drop takes a snapshot out of the catalog.
func (w *faultWorld) drop(ctx context.Context, s *Store, root digest.Digest) {
	delete(w.there, root)
	maps.DeleteFunc(w.names, func(_ string, r digest.Digest) bool { return r == root })
	if w.note(s.Catalog().Drop(ctx, root)) {
		w.there[root] = false
	}
}

func (w *faultWorld) setName(ctx context.Context, s *Store, name string, root digest.Digest) {
	delete(w.names, name)
	if w.note(s.Catalog().SetName(ctx, name, root)) {
		w.names[name] = root
	}
}

func (w *faultWorld) collect(ctx context.Context, s *Store) {
	_, err := s.Collect(ctx, cas.CollectOptions{References: w.references})
	w.note(err)
}

func (w *faultWorld) references(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
	refs, ok := w.refs[e.Root]
	if !ok {
		return fmt.Errorf("snapshot %v was never committed", e.Root)
	}
	for _, d := range refs {
		if err := visit(d); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads what must be there, in one batch and singly.
func (w *faultWorld) readAll(ctx context.Context, s *Store) {
	for root, there := range w.there {
		if !there {
			continue
		}
		reqs := make([]cas.Request, len(w.refs[root]))
		for i, d := range w.refs[root] {
			reqs[i] = cas.Request{Digest: d, Dst: make([]byte, len(w.plain[d]))}
		}
		if !w.note(s.GetBatch(ctx, reqs)) {
			continue
		}
		for _, r := range reqs {
			if w.note(r.Err) {
				require.Equal(w.t, w.plain[r.Digest], r.Dst[:r.N], "a wrong byte of %v", r.Digest)
			}
		}
	}
}

// verify opens a copy of the disk as another process and looks whether all is
// there that has to be, and nothing else, and whether the store can be used.
func (w *faultWorld) verify(disk *vfs.Disk, what string) {
	w.t.Helper()
	ctx := context.Background()
	s, err := Open("copy", w.options(disk.Process()))
	require.NoError(w.t, err, what)
	w.wholeIn(s, what)
	w.sound(s, what)
	o := &faultWorld{t: w.t, clock: w.clock, refs: w.refs, plain: w.plain, there: maps.Clone(w.there), names: maps.Clone(w.names)}
	o.capture(ctx, s, "afterwards", 6, nil, "afterwards")
	o.collect(ctx, s)
	require.Empty(w.t, o.errs, what)
	o.wholeIn(s, what+", then collected")
	o.sound(s, what+", then collected")
	delete(w.refs, faultSum(faultBytes("afterwards", 0)))
	require.NoError(w.t, s.Close(), what)
}

// wholeIn looks at the catalog and every blob of it.
func (w *faultWorld) wholeIn(s *Store, what string) {
	w.t.Helper()
	ctx := context.Background()
	list, err := s.Catalog().Entries(ctx)
	require.NoError(w.t, err, what)
	listed := map[digest.Digest]bool{}
	for _, e := range list {
		listed[e.Root] = true
		for _, d := range w.refs[e.Root] {
			buf := make([]byte, len(w.plain[d]))
			n, err := s.Get(ctx, d, buf)
			require.NoError(w.t, err, "%s: snapshot %v", what, e.Root)
			require.Equal(w.t, w.plain[d], buf[:n], "%s: snapshot %v", what, e.Root)
		}
		require.NotEmpty(w.t, w.refs[e.Root], "%s: nobody committed %v", what, e.Root)
	}
	for root, there := range w.there {
		require.Equal(w.t, there, listed[root], "%s: snapshot %v", what, root)
	}
	for name, root := range w.names {
		e, err := s.Catalog().Lookup(ctx, name)
		require.NoError(w.t, err, "%s: name %s", what, name)
		require.Equal(w.t, root, e.Root, "%s: name %s", what, name)
	}
}

// sound looks for damage.
func (w *faultWorld) sound(s *Store, what string) {
	w.t.Helper()
	var mu sync.Mutex
	report := func(p cas.Problem) {
		mu.Lock()
		defer mu.Unlock()
		if !p.Leftover {
			require.Fail(w.t, "damage", "%s: %+v", what, p)
		}
	}
	require.NoError(w.t, s.Check(context.Background(), report), what)
	require.NoError(w.t, s.Scrub(context.Background(), cas.ScrubOptions{Report: report}), what)
}
