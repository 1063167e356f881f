package packfile

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// maxGapBytes is how much between two records is read in vain rather than
	// left out: less than a disk reads in the time that another request takes.
	maxGapBytes = 64 << 10
	// maxRunBytes is the longest read, unless one record is longer.
	maxRunBytes = 4 << 20
)

// batch is the work of one ReadBatch.
type batch struct {
	r     *Reader
	spots []Spot
	order []int // of the spots, by place
	runs  []run
	next  atomic.Int64
	use   func(i int, rec []byte, err error)
}

// run is a range of one pack that is read at once: that of the spots
// order[lo:hi].
type run struct {
	lo, hi int
	end    int64
}

// ReadBatch reads the records at all spots in the order in which they lie,
// neighbours at once, with so many reads at a time, and returns when it is done.
// It calls use exactly once per spot, with its index and what Read would have
// given; from several goroutines at once if threads is more than 1.
func (r *Reader) ReadBatch(ctx context.Context, spots []Spot, threads int, use func(i int, rec []byte, err error)) {
	b := &batch{r: r, spots: spots, use: use}
	b.plan()
	threads = min(threads, len(b.runs))
	if threads <= 1 {
		b.work(ctx)
		return
	}
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() { b.work(ctx) })
	}
	wg.Wait()
}

// plan orders the spots and joins neighbours to runs.
func (b *batch) plan() {
	b.order = make([]int, len(b.spots))
	for i := range b.order {
		b.order[i] = i
	}
	slices.SortFunc(b.order, func(i, j int) int {
		s, t := b.spots[i], b.spots[j]
		return cmp.Or(cmp.Compare(s.Pack, t.Pack), cmp.Compare(s.Off, t.Off))
	})
	for k, i := range b.order {
		s := b.spots[i]
		if n := len(b.runs); n > 0 && b.joins(&b.runs[n-1], s) {
			b.runs[n-1].hi = k + 1
			b.runs[n-1].end = max(b.runs[n-1].end, s.Off+s.Bytes)
			continue
		}
		b.runs = append(b.runs, run{lo: k, hi: k + 1, end: s.Off + s.Bytes})
	}
}

// joins tells whether s, which lies behind what is in the run, is read with it.
func (b *batch) joins(u *run, s Spot) bool {
	first := b.spots[b.order[u.lo]]
	return s.Pack == first.Pack && s.check() == nil && first.check() == nil &&
		s.Off-u.end <= maxGapBytes && max(u.end, s.Off+s.Bytes)-first.Off <= maxRunBytes
}

func (b *batch) work(ctx context.Context) {
	for {
		i := int(b.next.Add(1)) - 1
		if i >= len(b.runs) {
			return
		}
		b.read(ctx, b.runs[i])
	}
}

// read reads one run. If that fails, its records are read one by one, so that
// an error hits none but those that it concerns.
func (b *batch) read(ctx context.Context, u run) {
	if u.hi-u.lo > 1 && ctx.Err() == nil && b.together(u) {
		return
	}
	for _, i := range b.order[u.lo:u.hi] {
		called := false
		err := b.r.Read(ctx, b.spots[i], func(rec []byte) error {
			called = true
			b.use(i, rec, nil)
			return nil
		})
		if !called {
			b.use(i, nil, err)
		}
	}
}

// together reads a run of several records at once. If it fails, it used none.
func (b *batch) together(u run) bool {
	first := b.spots[b.order[u.lo]]
	p, err := b.r.acquire(first.Pack)
	if err != nil {
		return false
	}
	defer b.r.release(p)
	m, mem, err := b.r.load(p, Spot{Pack: first.Pack, Off: first.Off, Bytes: u.end - first.Off})
	if err != nil {
		return false
	}
	defer b.r.memory.giveBack(m)
	for _, i := range b.order[u.lo:u.hi] {
		at := b.spots[i].Off - first.Off
		b.use(i, mem[at:at+b.spots[i].Bytes], nil)
	}
	return true
}
