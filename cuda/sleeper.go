package cuda

import "time"

// Sleeper lets a goroutine sleep for some ten microseconds, which the runtime's
// timers turn into a millisecond, without holding a thread, and lets others wake
// it. The zero value is ready. One goroutine sleeps at a time; it closes the
// Sleeper, or something that comes after it.
type Sleeper struct{ sleeper }

// Sleep returns after pause, at most some milliseconds, or when Wake is called;
// at once if it was called since the last Sleep. It tells whether it was.
// Without the tag cuda, and where the kernel gives no timer, a Wake comes through
// when the pause is over.
func (s *Sleeper) Sleep(pause time.Duration) (woken bool) { return s.sleep(pause) }

// Wake ends the Sleep under way, or the next one. Any goroutine may call it.
func (s *Sleeper) Wake() { s.wake() }

// Close gives the kernel's timer back. The next Sleep takes another.
func (s *Sleeper) Close() { s.close() }
