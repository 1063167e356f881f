package pack

import (
	"context"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// faultStep is a part of the scenario. It goes on after errors, which it
// notes, as different callers would.
type faultStep struct {
	name string
	run  func(ctx context.Context, w *faultWorld)
}

// faultSteps is everything that a store can be asked for. The store under test
// meets the faults, the others, of other processes, do not.
var faultSteps = []faultStep{
	{"open", func(_ context.Context, w *faultWorld) {
		s, err := Open("disk", w.options(w.fs))
		if w.note(err) {
			w.s = s
		}
	}},
	{"first", func(ctx context.Context, w *faultWorld) { w.capture(ctx, w.s, "first", 12, nil, "one") }},
	{"second", func(ctx context.Context, w *faultWorld) {
		w.capture(ctx, w.s, "second", 16, w.digests("first", 4), "two", "zwei")
	}},
	{"abort", stepAbort},
	{"cache", stepCache},
	{"another process", stepAnother},
	{"names", func(ctx context.Context, w *faultWorld) {
		w.setName(ctx, w.s, "uno", faultRoot("first"))
		w.setName(ctx, w.s, "one", faultRoot("second"))
		delete(w.names, "zwei")
		_, err := w.s.Catalog().Remove(ctx, "zwei")
		w.note(err)
		_, err = w.s.Catalog().Lookup(ctx, "uno")
		w.note(err)
	}},
	{"quarantine", stepQuarantine},
	{"drop", func(ctx context.Context, w *faultWorld) { w.drop(ctx, w.s, faultRoot("first")) }},
	{"collect", func(ctx context.Context, w *faultWorld) { w.collect(ctx, w.s) }},
	{"checkpoint", func(ctx context.Context, w *faultWorld) { w.note(w.s.checkpoint(ctx)) }},
	{"third", func(ctx context.Context, w *faultWorld) {
		w.capture(ctx, w.s, "third", 10, w.digests("second", 3), "three")
	}},
	{"read", func(ctx context.Context, w *faultWorld) {
		w.readAll(ctx, w.s)
		_, err := w.s.Stats(ctx)
		w.note(err)
		w.note(w.s.Check(ctx, func(p cas.Problem) { w.note(p.Err) }))
		var mu sync.Mutex
		w.note(w.s.Scrub(ctx, cas.ScrubOptions{Report: func(p cas.Problem) {
			mu.Lock()
			defer mu.Unlock()
			w.note(p.Err)
		}}))
		for _, err := range w.s.Blobs(ctx) {
			w.note(err)
		}
	}},
}

func faultRoot(kind string) digest.Digest { return faultSum(faultBytes(kind, 0)) }

// digests returns those of the blobs from 1 on of a kind.
func (w *faultWorld) digests(kind string, n int) []digest.Digest {
	out := make([]digest.Digest, n)
	for i := range out {
		_, out[i] = w.content(kind, i+1)
	}
	return out
}

func stepAbort(ctx context.Context, w *faultWorld) {
	sess, err := w.s.Begin(ctx, cas.SessionOptions{})
	if !w.note(err) {
		return
	}
	for i := range 3 {
		p, d := w.content("aborted", i)
		_, err := sess.Put(ctx, d, p)
		w.note(err)
	}
	w.note(sess.Flush(ctx))
	w.note(sess.Abort(ctx))
}

// stepCache puts more into the cache than it holds. What it then has is right.
func stepCache(ctx context.Context, w *faultWorld) {
	sess, err := w.s.Begin(ctx, cas.SessionOptions{Class: cas.Cache})
	if !w.note(err) {
		return
	}
	buf := make([]byte, 16<<10)
	for i := range 80 {
		p, d := w.content("cache", i)
		_, err := sess.Put(ctx, d, p)
		w.note(err)
		if i%8 == 7 {
			w.note(sess.Flush(ctx))
			_, hot := w.content("cache", 5)
			if ok, err := w.s.Has(ctx, hot); w.note(err) && ok {
				n, err := w.s.Get(ctx, hot, buf)
				if w.note(err) {
					require.Equal(w.t, w.plain[hot], buf[:n])
				}
			}
		}
	}
	w.note(sess.Abort(ctx))
}

// stepAnother lets another process commit, and one more die.
func stepAnother(ctx context.Context, w *faultWorld) {
	if w.alone {
		return
	}
	faults := w.errs
	s, err := Open("another", w.options(w.disk.Process()))
	require.NoError(w.t, err)
	w.capture(ctx, s, "another", 8, w.digests("first", 2), "another")
	require.NoError(w.t, s.Close())

	p := w.disk.Process()
	s, err = Open("dead", w.options(p))
	require.NoError(w.t, err)
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(w.t, err)
	for i := range 5 {
		b, d := w.content("dead", i)
		_, err := sess.Put(ctx, d, b)
		require.NoError(w.t, err)
	}
	require.NoError(w.t, sess.Flush(ctx))
	p.Kill()
	_ = s.Close() // it lost all its files
	require.Equal(w.t, faults, w.errs, "a process without faults met one")
}

// stepQuarantine damages a blob of the second snapshot and heals it.
func stepQuarantine(ctx context.Context, w *faultWorld) {
	p, d := w.content("second", 7)
	at, pack, ok := w.s.st().find(d)
	if !ok || w.alone { // nobody could heal it if the disk fails
		return
	}
	there, known := w.there[faultRoot("second")]
	w.spoil(pack.id, at.Offset()+200)
	if known {
		w.there[faultRoot("second")] = there
	}
	w.note(w.s.Quarantine(ctx, d))
	sess, err := w.s.Begin(ctx, cas.SessionOptions{})
	if w.note(err) {
		_, err := sess.Put(ctx, d, p)
		w.note(err)
		w.note(sess.Flush(ctx))
		w.note(sess.Abort(ctx))
	}
	if at, pack, ok = w.s.st().find(d); !ok || !w.intact(d, pack.id, at.Offset(), at.Size()) {
		// Nobody healed it, because of a fault: so the test does.
		o, err := Open("healer", w.options(w.disk.Process()))
		require.NoError(w.t, err)
		sess, err := o.Begin(ctx, cas.SessionOptions{})
		require.NoError(w.t, err)
		_, err = sess.Put(ctx, d, p)
		require.NoError(w.t, err)
		require.NoError(w.t, sess.Flush(ctx))
		require.NoError(w.t, sess.Abort(ctx))
		require.NoError(w.t, o.Close())
	}
}

// spoil changes a byte of a pack, for good.
func (w *faultWorld) spoil(pack uint64, off int64) {
	f, err := w.disk.Process().Open(packfile.Path(pack), vfs.ReadWrite)
	require.NoError(w.t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	require.NoError(w.t, err)
	b[0] ^= 0x55
	_, err = f.WriteAt(b[:], off)
	require.NoError(w.t, err)
	require.NoError(w.t, f.Sync())
	require.NoError(w.t, f.Close())
}

// intact reports whether a record is sound.
func (w *faultWorld) intact(d digest.Digest, pack uint64, off, bytes int64) bool {
	r := packfile.NewReader(packfile.ReaderOptions{FS: w.disk.Process()})
	defer func() { require.NoError(w.t, r.Close()) }()
	err := r.Read(context.Background(), packfile.Spot{Pack: pack, Off: off, Bytes: bytes}, func(rec []byte) error {
		return packfile.CheckBlob(rec, d)
	})
	return err == nil
}

// run goes through the steps. It stops if the store could not be opened, and
// tells after each step which errors it met.
func (w *faultWorld) run(ctx context.Context, after func(step string, errs []error)) {
	for _, step := range faultSteps {
		w.errs = nil
		w.clock.Turn(1e9)
		step.run(ctx, w)
		after(step.name, w.errs)
		if w.s == nil {
			return
		}
	}
}

// close closes the store under test.
func (w *faultWorld) close() error {
	if w.s == nil {
		return nil
	}
	s := w.s
	w.s = nil
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
