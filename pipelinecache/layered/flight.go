package layered

import (
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/pipelinecache"
)

const (
	shardCount = 64
	// miss is the number of no layer.
	miss = -1
)

// shard is what goes on for some of the fingerprints, and their counts.
type shard struct {
	mu   sync.Mutex
	busy map[pipelinecache.Fingerprint]*busy // made when it is first needed
	// landed counts flights that ended. It changes with mu held.
	landed atomic.Uint64
	// hits are requests that were answered, by layer, misses those that were
	// not, and joined those of either that another's flight answered.
	hits           []uint64
	misses, joined uint64

	_ [64]byte // keep neighbours' locks on other pairs of cache lines
}

// busy is a fingerprint that somebody asks the lower layers for, or puts. It goes
// when neither does.
type busy struct {
	flight *flight
	puts   int
}

// flight is a question to the layers below the first.
type flight struct {
	// done is closed when the answer is there. What follows up to abandoned
	// is read only after that.
	done     chan struct{}
	artifact []byte
	layer    int
	err      error
	// abandoned: who asked was cancelled, or a layer panicked: there is no answer.
	abandoned bool

	// The shard's lock guards the rest.
	superseded bool          // something was put since the flight began
	promoting  chan struct{} // closed when the first layer has what was found
}

func (s *Store) shard(f *pipelinecache.Fingerprint) *shard { return &s.shards[f[0]%shardCount] }

func (sh *shard) busyLocked(f *pipelinecache.Fingerprint) *busy {
	b := sh.busy[*f]
	if b == nil {
		if sh.busy == nil {
			sh.busy = make(map[pipelinecache.Fingerprint]*busy)
		}
		b = &busy{}
		sh.busy[*f] = b
	}
	return b
}

func (sh *shard) leaveLocked(f *pipelinecache.Fingerprint, b *busy) {
	if b.flight == nil && b.puts == 0 {
		delete(sh.busy, *f)
	}
}

// board returns the flight for a fingerprint, and whether it is the caller's own
// to make; none if more flights have landed than the caller knows of.
func (sh *shard) board(f *pipelinecache.Fingerprint, landed uint64) (fl *flight, own, stale bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.landed.Load() != landed {
		return nil, false, true
	}
	b := sh.busyLocked(f)
	if b.flight != nil {
		return b.flight, false, false
	}
	b.flight = &flight{done: make(chan struct{}), layer: miss, abandoned: true, superseded: b.puts > 0}
	return b.flight, true, false
}

// land ends a flight: whoever comes now asks anew. It closes what is still open.
func (sh *shard) land(f *pipelinecache.Fingerprint, fl *flight) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := sh.busy[*f]
	b.flight = nil
	sh.leaveLocked(f, b)
	sh.landed.Add(1)
	for _, c := range []chan struct{}{fl.done, fl.promoting} {
		closeOnce(c)
	}
}

// closeOnce closes a channel that only its caller closes, unless there is none
// or it is closed.
func closeOnce(c chan struct{}) {
	if c == nil {
		return
	}
	select {
	case <-c:
	default:
		close(c)
	}
}

// beginPromotion tells whether the first layer is to have what a flight found. It
// is not if somebody put there since: that is newer.
func (sh *shard) beginPromotion(fl *flight) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if fl.superseded {
		return false
	}
	fl.promoting = make(chan struct{})
	return true
}

// beginPut announces a put. If a promotion into the first layer goes on, it
// returns what is closed when that has ended.
func (sh *shard) beginPut(f *pipelinecache.Fingerprint) (b *busy, promoting <-chan struct{}) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b = sh.busyLocked(f)
	b.puts++
	if b.flight != nil {
		b.flight.superseded = true
		promoting = b.flight.promoting
	}
	return b, promoting
}

func (sh *shard) endPut(f *pipelinecache.Fingerprint, b *busy) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b.puts--
	sh.leaveLocked(f, b)
}

// count counts a request that a layer answered, or none.
func (sh *shard) count(layer int, joined bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if layer == miss {
		sh.misses++
	} else {
		sh.hits[layer]++
	}
	if joined {
		sh.joined++
	}
}
