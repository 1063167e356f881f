//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// gateSlice is how long a process keeps its share of the gate before it lets
// a collector in.
const gateSlice = 10 * time.Millisecond

// gate lets session operations and the batches of a collector exclude each
// other, across processes. It is two flocks: whoever wants in takes the turn
// first, then the gate. A collector keeps the turn while it waits for the
// gate, so sessions cannot overtake it for ever; between its batches it stays
// away for as long as a batch took.
//
// Within a process the sessions' share is counted, and kept for a slice of
// time after its first use, so that a call under load costs no system call.
type gate struct {
	fs         *files
	turn, main int // descriptors

	mu     sync.Mutex
	inside int           // operations inside
	held   bool          // the share of the gate is ours
	shut   chan struct{} // not nil while nobody may enter; closed then
	timer  *time.Timer   // ends the slice
	closed bool
}

func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		switch {
		case g.shut != nil:
			wait := g.shut
			g.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return ctx.Err()
			}
		case g.held:
			g.inside++
			g.mu.Unlock()
			return nil
		default:
			g.shut = make(chan struct{})
			g.mu.Unlock()
			return g.acquire(ctx)
		}
	}
}

// acquire takes the share for everybody who waits, and enters.
func (g *gate) acquire(ctx context.Context) error {
	err := g.fs.lockAt(ctx, &g.turn, turnLock, unix.LOCK_SH)
	if err == nil {
		err = g.fs.lockAt(ctx, &g.main, gateLock, unix.LOCK_SH)
		unlock(g.turn)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.held = true
		g.inside++
		if g.timer == nil {
			g.timer = time.AfterFunc(gateSlice, g.sliceEnded)
		} else {
			g.timer.Reset(gateSlice)
		}
	}
	g.openLocked()
	return err
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.shut != nil {
		g.releaseLocked()
		g.openLocked()
	}
}

// sliceEnded gives the share back, or has the last one inside do it.
func (g *gate) sliceEnded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed || !g.held || g.shut != nil:
	case g.inside == 0:
		g.releaseLocked()
	default:
		g.shut = make(chan struct{})
	}
}

func (g *gate) releaseLocked() {
	unlock(g.main)
	g.held = false
}

func (g *gate) openLocked() {
	close(g.shut)
	g.shut = nil
}

// close ends the gate's use; nobody is inside.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	_ = unix.Close(g.turn) // closing also unlocks
	_ = unix.Close(g.main)
}

// yield ends the slice now, because a collector of this process waits.
func (g *gate) yield() { g.sliceEnded() }

// gatePatience is how long a collector waits for the gate before it gives up.
// Operations inside are short, so whoever keeps it longer does not run.
const gatePatience = 20 * time.Second

// exclude runs do while no session operation of any process is inside. While
// it waits for them it lets nobody else in, so it does not wait for ever: a
// process that was stopped inside would stop all the others through it.
func (s *Store) exclude(ctx context.Context, do func() error) error {
	return s.lockedSoon(ctx, turnLock, func() error {
		s.gate.yield()
		return s.lockedSoon(ctx, gateLock, do)
	})
}

// lockedSoon is locked with a bound of the wait, past which it tells who has
// the lock.
func (s *Store) lockedSoon(ctx context.Context, rel string, do func() error) error {
	bounded, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	entered := false
	err := s.locked(bounded, rel, func() error {
		entered = true
		return do()
	})
	if !entered && bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("dir: %s is held for more than %v by %s: %w", rel, s.patience, s.lockedBy(rel), err)
	}
	return err
}

// lockedBy names the processes that have the lock rel, where the system tells.
func (s *Store) lockedBy(rel string) string {
	st, err := s.fs.lstat(rel)
	if err != nil {
		return "nobody knows whom"
	}
	pids := lockHolders(&st)
	if len(pids) == 0 {
		return "a process that cannot be seen from here"
	}
	return "process " + strings.Join(pids, ", ")
}

// locked runs do under an exclusive lock of the file rel.
func (s *Store) locked(ctx context.Context, rel string, do func() error) error {
	fd, err := s.fs.openLock(rel)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // closing unlocks
	if err := s.fs.lockAt(ctx, &fd, rel, unix.LOCK_EX); err != nil {
		return unwritten("lock", rel, err)
	}
	return do()
}

// openLock opens the lock file rel, and makes it if somebody deleted it.
func (f *files) openLock(rel string) (int, error) {
	fd, err := f.open(rel, unix.O_RDWR|unix.O_CREAT)
	if missing(err) {
		if err := f.mkdir(locksDir); err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, unwritten("create", locksDir, err)
		}
		fd, err = f.open(rel, unix.O_RDWR|unix.O_CREAT)
	}
	return fd, unwritten("open", rel, err)
}

// lockAt takes the lock how of the file rel, which *fd was opened as. A lock of
// a file that was deleted or replaced excludes nobody who came later, so then
// it opens the one that is there now.
func (f *files) lockAt(ctx context.Context, fd *int, rel string, how int) error {
	for {
		if err := f.lock(ctx, *fd, rel, how); err != nil {
			return err
		}
		var mine unix.Stat_t
		err := unix.Fstat(*fd, &mine)
		if err == nil {
			var now unix.Stat_t
			if now, err = f.lstat(rel); err == nil && now.Dev == mine.Dev && now.Ino == mine.Ino {
				return nil
			}
		}
		if err != nil && !missing(err) {
			unlock(*fd)
			return err
		}
		fresh, err := f.openLock(rel)
		if err != nil {
			unlock(*fd)
			return err
		}
		_ = unix.Close(*fd) // nothing was written to it; closing unlocks
		*fd = fresh
	}
}
