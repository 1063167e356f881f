package art

import (
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// onceFile is a full file whose device fails once: as a system does, it tells
// whichever sync comes first after that.
type onceFile struct {
	vfs.File
	mu     sync.Mutex
	syncs  int
	failed bool          // to be told
	goOn   chan struct{} // the first sync waits for this
}

func (f *onceFile) WriteAt([]byte, int64) (int, error) { return 0, syscall.ENOSPC }
func (f *onceFile) Truncate(int64) error               { return nil }

func (f *onceFile) Sync() error {
	f.mu.Lock()
	f.syncs++
	first := f.syncs == 1
	f.mu.Unlock()
	if first {
		<-f.goOn
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed {
		f.failed = false
		return syscall.EIO
	}
	return nil
}

// TestAFailureIsNotTakenFromAFlush: undoing a write that failed syncs the log, too,
// and must not be the one that is told why what a Flush waits for is not durable.
func TestAFailureIsNotTakenFromAFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &onceFile{failed: true, goOn: make(chan struct{})}
		l := &log{f: f, end: 200, told: logHeadBytes, synced: logHeadBytes}
		l.written.Store(l.end)
		flushed, undone := make(chan error, 1), make(chan error, 1)
		go func() { flushed <- l.sync(200) }()
		synctest.Wait()
		go func() {
			_, err := l.append([]byte("frame"))
			undone <- err
		}()
		synctest.Wait()
		require.Empty(t, undone, "undone beside a sync")
		close(f.goOn)
		require.ErrorIs(t, <-flushed, syscall.EIO)
		err := <-undone
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorIs(t, err, syscall.EIO, "nothing of the log can be relied on")
		require.Equal(t, 1, f.syncs)
	})
}
