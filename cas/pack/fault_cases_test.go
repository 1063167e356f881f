package pack

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// faultSwitch fails the operations that it is told to, while it is on.
type faultSwitch struct {
	cause atomic.Pointer[error]
	only  func(op, path string) bool
	fired atomic.Int64
}

func (f *faultSwitch) hook(op, path string) error {
	if cause := f.cause.Load(); cause != nil && f.only(op, path) {
		f.fired.Add(1)
		return *cause
	}
	return nil
}

func (f *faultSwitch) on(err error) { f.cause.Store(&err) }
func (f *faultSwitch) off()         { f.cause.Store(nil) }

// faultStore opens a store whose operations can be made to fail.
func faultStore(t *testing.T, only func(op, path string) bool) (*faultWorld, *faultSwitch) {
	w, f := newFaultWorld(t), &faultSwitch{only: only}
	s, err := Open("disk", w.options(vfs.WithFaults(w.disk.Process(), f.hook)))
	require.NoError(t, err)
	w.s = s
	t.Cleanup(func() { _ = w.close() })
	w.capture(t.Context(), s, "first", 4, nil, "one")
	require.Empty(t, w.errs)
	return w, f
}

// A commit whose last write fails, that which makes it count, is not seen
// afterwards.
func TestFaultFailedCommitIsNotSeen(t *testing.T) {
	t.Parallel()
	writes := 0
	w, f := faultStore(t, func(op, path string) bool {
		if op == "write" && strings.HasPrefix(path, logDir) {
			writes++
			return writes == 4 // of two transactions, the text and the word of each
		}
		return false
	})
	f.on(syscall.EIO)
	w.capture(t.Context(), w.s, "second", 2, nil, "two")
	require.EqualValues(t, 1, f.fired.Load())
	require.NotEmpty(t, w.errs) // capture looks into the catalog
	_, err := w.s.Catalog().Lookup(t.Context(), "two")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	w.verify(w.disk.Crash(vfs.CrashOptions{}), "afterwards")
}

// A commit that was made is none that failed, whatever comes after it.
func TestFaultAfterACommit(t *testing.T) {
	t.Parallel()
	w, f := faultStore(t, func(op, path string) bool { return op == "unlink" && strings.HasPrefix(path, streamsDir) })
	f.on(syscall.EROFS)
	w.capture(t.Context(), w.s, "second", 2, nil, "two")
	require.Empty(t, w.errs)
	require.NotZero(t, f.fired.Load())
	require.Contains(t, w.names, "two")
}

// A session that cannot tell others what it holds cannot go on, and nobody else
// minds.
func TestFaultPins(t *testing.T) {
	t.Parallel()
	w, f := faultStore(t, func(op, path string) bool { return op == "write" && strings.HasSuffix(path, ".2") })
	ctx := t.Context()
	hurt, err := w.s.Begin(ctx, cas.SessionOptions{}) // the second of the store
	require.NoError(t, err)
	f.on(syscall.ENOSPC)
	p, d := w.content("hurt", 0)
	_, err = hurt.Put(ctx, d, p)
	require.NoError(t, err)

	w.capture(ctx, w.s, "second", 3, nil, "two") // its step of the log meets the fault
	require.Empty(t, w.errs)
	require.NotZero(t, f.fired.Load())
	f.off()
	for _, err := range []error{
		hurt.Flush(ctx),
		hurt.Commit(ctx, cas.Entry{Root: d, Format: cas.FormatNative}),
	} {
		require.ErrorIs(t, err, kvferry.ErrNoSpace)
	}
	require.NoError(t, hurt.Abort(ctx))

	other, err := w.s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	f.only = func(op, path string) bool { return op == "write" && strings.HasPrefix(path, streamsDir) }
	f.on(syscall.EIO)
	for range 2 { // it is not held the second time either
		_, err = other.Has(ctx, faultRoot("first"))
		require.ErrorIs(t, err, syscall.EIO)
	}
	require.NoError(t, other.Abort(ctx))
}

// A pack that cannot be looked at is a problem that a check reports.
func TestFaultCheck(t *testing.T) {
	t.Parallel()
	w, f := faultStore(t, func(op, path string) bool { return op == "stat" && strings.HasSuffix(path, ".pack") })
	f.on(syscall.EIO)
	var told []error
	require.NoError(t, w.s.Check(t.Context(), func(p cas.Problem) { told = append(told, p.Err) }))
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], syscall.EIO)
	f.off()
}

// What a process wrote beside the log when it was killed is made durable, or
// forgotten, by the next one, before a snapshot rests on it.
func TestFaultKilledBesideTheLog(t *testing.T) {
	t.Parallel()
	resting := 0
	for k := range 30 { // operations of a flush
		w := newFaultWorld(t)
		var n atomic.Int64 // the pack and the log are synchronised at the same time
		p := w.disk.Process()
		s, err := Open("disk", w.options(vfs.WithFaults(p, func(string, string) error {
			if n.Add(-1) == 0 {
				p.Kill()
			}
			return nil
		})))
		require.NoError(t, err)
		sess, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		b, d := w.content("shared", 0)
		_, err = sess.Put(t.Context(), d, b)
		require.NoError(t, err)
		n.Store(int64(k + 1))
		_ = sess.Flush(t.Context()) // who was killed says nothing
		p.Kill()
		_ = s.Close()

		o, err := Open("other", w.options(w.disk.Process()))
		require.NoError(t, err)
		if ok, err := o.Has(t.Context(), d); ok {
			require.NoError(t, err)
			resting++
		}
		w.capture(t.Context(), o, "resting", 2, []digest.Digest{d}, "resting")
		require.Empty(t, w.errs)
		w.verify(w.disk.Crash(vfs.CrashOptions{}), fmt.Sprintf("killed at operation %d of a flush", k))
		require.NoError(t, o.Close())
	}
	t.Logf("%d of 30 flushes left a blob that another process found", resting)
}
