//go:build cuda

package cuda

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// napper pauses a goroutine for less than a millisecond without holding a thread.
// The runtime's timers cannot: with nothing else to do they wake a millisecond
// late, which is a copy of 50 MB.
type napper struct {
	file *os.File // a timer of the kernel; nil if there are none
	fd   int
	due  [8]byte
}

func newNapper() *napper {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return &napper{}
	}
	return &napper{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
}

// nap returns after pause. One that returns earlier or later does no harm.
func (n *napper) nap(pause time.Duration) {
	if !n.arm(pause) || !n.await() {
		time.Sleep(pause)
	}
}

// arm sets the timer, anew if it is set.
func (n *napper) arm(pause time.Duration) bool {
	if n.file == nil {
		return false
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(pause))}
	return unix.TimerfdSettime(n.fd, 0, &spec, nil) == nil
}

// await returns when the timer has run out.
func (n *napper) await() bool {
	_, err := n.file.Read(n.due[:])
	return err == nil
}

// maxNappers are kept; more than these wait at once seldom.
const maxNappers = 8

// nappers keeps some for the next wait.
type nappers struct {
	mu     sync.Mutex
	free   []*napper
	closed bool
}

func (ns *nappers) take() *napper {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if i := len(ns.free) - 1; i >= 0 {
		n := ns.free[i]
		ns.free = ns.free[:i]
		return n
	}
	return newNapper()
}

func (ns *nappers) put(n *napper) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if !ns.closed && len(ns.free) < maxNappers {
		ns.free = append(ns.free, n)
		return
	}
	n.close()
}

func (ns *nappers) close() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.closed = true
	for _, n := range ns.free {
		n.close()
	}
	ns.free = nil
}

func (n *napper) close() {
	if n.file != nil {
		_ = n.file.Close()
	}
}
