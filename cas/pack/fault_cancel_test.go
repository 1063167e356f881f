package pack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestFaultCancelled cancels the context of all calls at operation k of the
// scenario. Nothing is half visible, and the store goes on with another one.
func TestFaultCancelled(t *testing.T) {
	t.Parallel()
	every := 2*faultEvery - 1
	if faultSoak() {
		every = 1
	}
	runs := 0
	for k := 0; cancelOnce(t, k); k += every {
		runs++
	}
	t.Logf("%d scenarios cancelled, one in %d operations", runs, every)
}

func cancelOnce(t *testing.T, k int) bool {
	w := newFaultWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	w.fs = vfs.WithFaults(w.disk.Process(), func(string, string) error {
		if n.Add(1) > int64(k) {
			cancel()
		}
		return nil
	})
	what := fmt.Sprintf("cancelled at operation %d", k)
	w.alone = true // the other ones have this context, too
	w.run(ctx, func(step string, errs []error) {
		for _, err := range errs {
			require.ErrorIs(t, err, context.Canceled, "%s, %s", what, step)
		}
	})
	if ctx.Err() == nil {
		require.NoError(t, w.close())
		return false
	}
	w.errs = nil
	w.capture(context.WithoutCancel(ctx), w.s, "probe", 8, nil, "probe")
	w.collect(context.WithoutCancel(ctx), w.s)
	w.readAll(context.WithoutCancel(ctx), w.s)
	require.Empty(t, w.errs, what)
	w.wholeIn(w.s, what)
	require.NoError(t, w.close())
	w.verify(w.disk.Crash(vfs.CrashOptions{}), what)
	return true
}

// TestFaultCancelledBefore makes every call with a context that has ended.
func TestFaultCancelledBefore(t *testing.T) {
	t.Parallel()
	w, _ := faultStore(t, func(string, string) bool { return false })
	sess, err := w.s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	p, d := w.content("first", 1)
	_, fresh := w.content("fresh", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cat := w.s.Catalog()
	for name, call := range map[string]func() error{
		"get":        func() error { _, err := w.s.Get(ctx, d, make([]byte, len(p))); return err },
		"get batch":  func() error { return w.s.GetBatch(ctx, []cas.Request{{Digest: d}}) },
		"has":        func() error { _, err := w.s.Has(ctx, d); return err },
		"begin":      func() error { _, err := w.s.Begin(ctx, cas.SessionOptions{}); return err },
		"put":        func() error { _, err := sess.Put(ctx, fresh, p); return err },
		"find":       func() error { _, err := sess.Has(ctx, d); return err },
		"flush":      func() error { return sess.Flush(ctx) },
		"entries":    func() error { _, err := cat.Entries(ctx); return err },
		"lookup":     func() error { _, err := cat.Lookup(ctx, "one"); return err },
		"name":       func() error { return cat.SetName(ctx, "two", faultRoot("first")) },
		"remove":     func() error { _, err := cat.Remove(ctx, "one"); return err },
		"drop":       func() error { return cat.Drop(ctx, faultRoot("first")) },
		"stats":      func() error { _, err := w.s.Stats(ctx); return err },
		"check":      func() error { return w.s.Check(ctx, func(cas.Problem) {}) },
		"scrub":      func() error { return w.s.Scrub(ctx, cas.ScrubOptions{}) },
		"quarantine": func() error { return w.s.Quarantine(ctx, d) },
		"collect": func() error {
			_, err := w.s.Collect(ctx, cas.CollectOptions{References: w.references})
			return err
		},
		"commit": func() error { return sess.Commit(ctx, cas.Entry{Root: d, Format: cas.FormatNative}) },
		"blobs": func() error {
			for _, err := range w.s.Blobs(ctx) {
				return err
			}
			return nil
		},
	} {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
	require.NoError(t, sess.Abort(ctx), "a session can always be given up")
	w.wholeIn(w.s, "afterwards")
}

// A panic of a caller's function in the middle of a call does no harm to others.
func TestFaultPanic(t *testing.T) {
	t.Parallel()
	w, _ := faultStore(t, func(string, string) bool { return false })
	boom := errors.New("boom")
	require.PanicsWithValue(t, boom, func() {
		_, _ = w.s.Collect(t.Context(), cas.CollectOptions{
			References: func(context.Context, cas.Entry, func(digest.Digest) error) error { panic(boom) },
		})
	})
	require.PanicsWithValue(t, boom, func() {
		w.s.Blobs(t.Context())(func(cas.BlobInfo, error) bool { panic(boom) })
	})
	w.capture(t.Context(), w.s, "second", 3, nil, "two")
	w.collect(t.Context(), w.s)
	require.Empty(t, w.errs)
	require.NoError(t, w.close())
	w.verify(w.disk.Crash(vfs.CrashOptions{}), "afterwards")
}
