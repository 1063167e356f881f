package tiered

import (
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/digest"
)

// hidden are blobs that near keeps although they do not exist any more: a
// near store that evicts keeps its cache through a collection. To hide a blob
// is always safe where far has it, for it is then read from there.
type hidden struct {
	// active is set while there is anything hidden or to be.
	active atomic.Bool

	mu    sync.Mutex
	set   map[digest.Digest]struct{}
	fresh map[digest.Digest]struct{} // shown since watch; nil unless watching
}

// has reports whether d is not to be read from near.
func (h *hidden) has(d digest.Digest) bool {
	if !h.active.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.set[d]
	return ok
}

// show notes that d exists.
func (h *hidden) show(d digest.Digest) {
	if !h.active.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.set, d)
	if h.fresh != nil {
		h.fresh[d] = struct{}{}
	}
}

// watch makes replace spare what is shown from now on.
func (h *hidden) watch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active.Store(true)
	h.fresh = map[digest.Digest]struct{}{}
}

// replace hides set, and nothing else, and ends the watch. With a nil set it
// only ends the watch.
func (h *hidden) replace(set map[digest.Digest]struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if set != nil {
		for d := range h.fresh {
			delete(set, d)
		}
		h.set = set
	}
	h.fresh = nil
	h.active.Store(len(h.set) > 0)
}
