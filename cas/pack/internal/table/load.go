package table

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Load reads what Save wrote at off, size bytes, on so many goroutines. slots
// has the slots for the numbers that Save was given; one of MaxSlots or more
// is that of no pack. Entries in damaged blocks and those of unknown packs are
// lost, and counted; where the frame that has the count is damaged too, lost is
// what there may have been. ErrCorrupt is returned when both frames are
// damaged, ErrUnsupported for a newer format. The caller closes the table.
func Load(r io.ReaderAt, off, size int64, slots []uint32, threads int) (t *Table, lost int64, err error) {
	l := loader{r: r, slots: slots}
	if err := l.open(off, size); err != nil {
		return nil, 0, fmt.Errorf("table: load: %w", err)
	}
	if l.t, err = New(); err != nil {
		return nil, 0, err
	}
	if err := l.run(max(1, threads)); err != nil {
		l.t.Close()
		return nil, 0, fmt.Errorf("table: load: %w", err)
	}
	if l.whole {
		lost = max(0, int64(l.entries)-l.loaded.Load())
	} else {
		lost = l.missed.Load() + 1
	}
	return l.t, lost, nil
}

// loader brings blocks into a table.
type loader struct {
	t       *Table
	r       io.ReaderAt
	slots   []uint32
	id      uint64
	from    int64 // of the blocks
	size    int64 // of the blocks
	entries uint64
	whole   bool // entries is what Save counted, otherwise at most what fits

	loaded atomic.Int64
	missed atomic.Int64 // entries that may have been in damaged blocks, or were no good
}

// open reads the frames.
func (l *loader) open(off, size int64) error {
	if off < 0 || size < 2*frameBytes || off > math.MaxInt64-size {
		return fmt.Errorf("%d bytes at %d: %w", size, off, kvferry.ErrCorrupt)
	}
	front, ok1, err1 := l.frame(off, frameFront)
	end, ok2, err2 := l.frame(off+size-frameBytes, frameEnd)
	l.from, l.size = off+frameBytes, size-2*frameBytes
	switch {
	case !ok1 && !ok2:
		return errors.Join(fmt.Errorf("both frames are damaged: %w", kvferry.ErrCorrupt), err1, err2)
	case ok1 && front.version != version || ok2 && end.version != version:
		return fmt.Errorf("versions %d and %d: %w", front.version, end.version, kvferry.ErrUnsupported)
	case ok1:
		l.id = front.id
	default:
		l.id = end.id
	}
	// The comparison of lengths comes second: it does not overflow then.
	if ok2 && end.id == l.id && end.entries <= uint64(l.size)/entryBytes && bodyBytes(end.entries) == uint64(l.size) {
		l.entries, l.whole = end.entries, true
		return nil
	}
	if ok2 && !ok1 {
		return fmt.Errorf("the frame at the end is not of these %d bytes: %w", size, kvferry.ErrCorrupt)
	}
	l.size = size - frameBytes // the file may be cut, so the end may be that of a block
	l.entries = uint64(l.size) / entryBytes
	return nil
}

func (l *loader) frame(off int64, kind uint32) (frame, bool, error) {
	var b [frameBytes]byte
	n, err := l.r.ReadAt(b[:], off)
	if n < len(b) {
		return frame{}, false, err
	}
	f, ok := parseFrame(b[:], kind)
	return f, ok, nil
}

// run reads all batches, then puts all shards into order.
func (l *loader) run(threads int) error {
	batches := (l.size + batchBytes - 1) / batchBytes
	err := inParallel(min(int64(threads), batches), batches, func() func(int64) error {
		return newBatch(l, min(l.size, batchBytes)).load
	})
	if err != nil {
		return err
	}
	return inParallel(int64(threads), shardCount, func() func(int64) error {
		r := settler{t: l.t}
		return func(i int64) error {
			n, err := r.settle(&l.t.shards[i])
			l.loaded.Add(int64(n))
			return err
		}
	})
}

// inParallel does n jobs on so many goroutines, each with a worker of its own.
func inParallel(threads, n int64, worker func() (do func(int64) error)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, threads)
	for i := range threads {
		wg.Go(func() {
			do := worker()
			for j := next.Add(1) - 1; j < n && errs[i] == nil; j = next.Add(1) - 1 {
				errs[i] = do(j)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// parse makes an entry of stored bytes, and returns its shard.
func (l *loader) parse(e *entry, b []byte) (shard uint64, ok bool) {
	p := Place(le64(b[digest.Size:]))
	k := l.t.seed.keyOf((*[digest.Size]byte)(b), digest.Algorithm(p&algorithmMask>>algorithmShift))
	ref := p.Slot()
	if k.algorithm == 0 || !p.possible() || p&flagMask != 0 || int64(ref) >= int64(len(l.slots)) || l.slots[ref] >= MaxSlots {
		return 0, false
	}
	*e = k.entry(p&(1<<slotShift-1)&^algorithmMask | Place(l.slots[ref])<<slotShift)
	return k.shard(), true
}
