package memory

import (
	"runtime"
	"sync"
)

// tries is how often a reader reads beside writers before it keeps them out.
const tries = 64

// view is a reading of a shard or scan shard, which is done again until nobody
// wrote meanwhile.
type view struct {
	v      *version
	mu     *sync.Mutex
	n      uint64 // of the version when it began; even
	tried  int
	locked bool
}

// begin waits until nobody writes.
func (w *view) begin(v *version, mu *sync.Mutex) {
	w.v, w.mu = v, mu
	for ; w.tried < tries; w.tried++ {
		if w.n = v.n.Load(); w.n&1 == 0 {
			w.tried++
			return
		}
		if w.tried > tries/4 {
			runtime.Gosched()
		}
	}
	mu.Lock()
	w.locked = true
	w.n = v.n.Load()
}

// same reports whether nobody wrote since begin. What was read counts only then.
// Whoever follows a list has to ask at every step: one that changes can be
// endless.
func (w *view) same() bool { return w.v.n.Load() == w.n }

// end ends a reading and reports whether it counts.
func (w *view) end() bool {
	ok := w.same()
	if w.locked {
		w.mu.Unlock()
		w.locked = false
	}
	return ok
}
