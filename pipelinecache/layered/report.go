package layered

import "sync"

// Report counts requests, which are gets of either kind, and promotions. All
// counts are of one moment: Requests is the sum of Hits and Misses, and there
// are no more promotions than hits below the first layer.
type Report struct {
	Requests uint64
	// Hits are the requests that were answered, by layer.
	Hits   []uint64
	Misses uint64
	// Joined are those among them that waited for the answer to another.
	Joined     uint64
	Promotions Promotions
}

// Promotions counts what was put into faster layers.
type Promotions struct {
	// Events are the promotions that at least one layer accepted.
	Events uint64
	// Layers and Bytes are what was accepted: so many puts, and their bytes.
	Layers, Bytes uint64
	// RefusedLayers and RefusedBytes are what was not.
	RefusedLayers, RefusedBytes uint64
	// Superseded are the promotions that left the first layer alone, because
	// something newer had been put there.
	Superseded uint64
	// Last is the latest promotion, whether accepted or not; zero without one.
	Last Promotion
}

// Promotion is what became of one hit below the first layer.
type Promotion struct {
	Source                      int // the layer that had the artifact
	Layers, Bytes               uint64
	RefusedLayers, RefusedBytes uint64
	Superseded                  bool
}

// Report returns the counts since the store was made.
func (s *Store) Report() Report {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		defer s.shards[i].mu.Unlock()
	}
	r := Report{Hits: make([]uint64, len(s.layers)), Promotions: s.promotions.snapshot()}
	for i := range s.shards {
		sh := &s.shards[i]
		for layer, n := range sh.hits {
			r.Hits[layer] += n
			r.Requests += n
		}
		r.Misses += sh.misses
		r.Requests += sh.misses
		r.Joined += sh.joined
	}
	return r
}

type promotions struct {
	mu  sync.Mutex
	sum Promotions
}

func (p *promotions) add(one Promotion) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.Layers > 0 {
		p.sum.Events++
	}
	if one.Superseded {
		p.sum.Superseded++
	}
	p.sum.Layers += one.Layers
	p.sum.Bytes += one.Bytes
	p.sum.RefusedLayers += one.RefusedLayers
	p.sum.RefusedBytes += one.RefusedBytes
	p.sum.Last = one
}

func (p *promotions) snapshot() Promotions {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum
}
