package art

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	lockName = "lock"
	tempName = ".new" // ends the names of files that are not finished
)

func logName(generation uint64) string      { return fmt.Sprintf("%016x.log", generation) }
func snapshotName(generation uint64) string { return fmt.Sprintf("%016x.snapshot", generation) }

// generationOf returns the generation in a file's name.
func generationOf(name, suffix string) (generation uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, suffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := fmt.Sscanf(hex, "%016x", &generation)
	return generation, n == 1 && err == nil && logName(generation) == hex+".log"
}

// log is a log that is appended to. Its end and what is told belong to whoever
// has the turn; what is durable to whoever holds mu.
type log struct {
	logHead
	f    vfs.File
	m    *mapping // nil: frames are written
	salt uint32
	end  int64
	told int64 // the marks say that it is durable up to here

	written atomic.Int64 // end, for those who have no turn

	mu      sync.Mutex
	synced  int64         // durable up to here
	broken  error         // of a sync: the next would succeed and mean nothing
	syncing chan struct{} // closed when the sync that is under way has ended; nil: none is
}

// createLog makes the log of a generation, durably. If it fails with an error
// that is harmless, there is none.
func createLog(f vfs.FS, h logHead) (l *log, harmless bool, err error) {
	h.random = randomBytes()
	name := logName(h.generation)
	file, err := f.Open(name+tempName, vfs.Create)
	if err != nil {
		return nil, true, err
	}
	if err = file.Truncate(0); err == nil { // one could not be removed
		_, err = file.WriteAt(h.encode(), 0)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.Rename(name+tempName, name)
	}
	if err != nil {
		err = errors.Join(err, file.Close())
		_ = f.Remove(name + tempName) // opening does it otherwise
		return nil, true, err
	}
	if err = f.SyncDir("."); err != nil {
		return nil, false, errors.Join(err, file.Close())
	}
	return &log{logHead: h, f: file, salt: h.salt(), end: logHeadBytes, told: logHeadBytes, synced: logHeadBytes}, true, nil
}

// randomBytes returns eight that are not all zero.
func randomBytes() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return max(1, binary.LittleEndian.Uint64(b[:]))
}

// append writes frames behind the end. If it fails with an error that is
// harmless, nothing of them is left.
func (l *log) append(frames []byte) (harmless bool, err error) {
	if err := l.put(frames); err != nil {
		// Of a group the first frames may be whole: they are to be gone for good.
		undo := l.trim()
		if undo == nil {
			undo = l.settle()
		}
		return undo == nil && full(err), errors.Join(err, undo)
	}
	l.end += int64(len(frames))
	l.written.Store(l.end)
	return true, nil
}

func (l *log) put(frames []byte) error {
	if l.m != nil && !l.m.covers(l.end, len(frames)) {
		if err := l.m.move(l.f, l.end, len(frames)); err != nil {
			// Room cannot be reserved here, or there is not enough for a window: this
			// log is written from now on.
			if err := errors.Join(l.trim(), l.m.close()); err != nil {
				return err
			}
			l.m = nil
		}
	}
	if l.m != nil {
		return l.m.put(frames, l.end)
	}
	_, err := l.f.WriteAt(frames, l.end)
	return err
}

// trim cuts off what is behind the end.
func (l *log) trim() error {
	if l.m != nil {
		if err := l.m.drop(); err != nil {
			return err
		}
	}
	return l.f.Truncate(l.end)
}

// close gives the file back.
func (l *log) close() error {
	var err error
	if l.m != nil {
		err = l.m.close()
	}
	return errors.Join(err, l.f.Close())
}

// sync makes the log durable up to an offset. Those that come while another one
// does it share the next, wherever theirs are.
func (l *log) sync(upto int64) error {
	for {
		l.mu.Lock()
		if l.synced >= upto || l.broken != nil {
			err := l.broken
			l.mu.Unlock()
			return err
		}
		under := l.syncing
		if under == nil {
			l.syncing = make(chan struct{})
			l.mu.Unlock()
			l.syncAll(upto)
			continue
		}
		l.mu.Unlock()
		<-under
	}
}

// settle makes the log durable as it is, also where nothing was added. It is no
// sync beside another: a failure, which the system tells one of them alone, is to
// reach all who wait.
func (l *log) settle() error {
	for {
		l.mu.Lock()
		if l.broken != nil {
			defer l.mu.Unlock()
			return l.broken
		}
		under := l.syncing
		if under == nil {
			l.syncing = make(chan struct{})
			l.mu.Unlock()
			l.syncAll(l.end)
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.broken
		}
		l.mu.Unlock()
		<-under
	}
}

// syncAll makes durable what was written, up to an offset at least. The caller has
// said that it is under way.
func (l *log) syncAll(upto int64) {
	all := l.gather(upto)
	err := l.f.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.broken = err
	} else {
		l.synced = all
	}
	close(l.syncing)
	l.syncing = nil
}

// gatherRounds bounds how often a sync lets others write before it.
const gatherRounds = 64

// gather lets others that are ready write before a sync, which then is theirs too:
// those that the last one let go on are about to. It returns where the log ends.
func (l *log) gather(upto int64) int64 {
	all := max(upto, l.written.Load())
	for range gatherRounds {
		runtime.Gosched()
		now := l.written.Load()
		if now <= all {
			break
		}
		all = now
	}
	return all
}

// durable returns up to where the log is.
func (l *log) durable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// full tells whether an error says that there is no room.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, kvferry.ErrNoSpace)
}

// readFull reads len(b) bytes, or those before the end of the file.
func readFull(f vfs.File, b []byte, off int64) (int, error) {
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
