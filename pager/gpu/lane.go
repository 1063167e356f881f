package gpu

import (
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// lane is a stream and the staging extent that is used on it.
type lane struct {
	stream  *cuda.Stream
	staging cuda.Ptr
	numbers cuda.Ptr   // of the pages of the batch that runs
	bounce  []byte     // pinned, for frames that are not
	digests digestRoom // of the way out
	coding  codingRoom // if pages cross the link coded
	// held is the batch that uses the lane's host memory and has not landed.
	held *slot
	// ready is the seq of the job for which the stream waits for the engine's.
	ready uint64
	// last is done when everything that was queued here is; guarded by
	// cache.mu, nil before the first batch.
	last   *cuda.Event
	fenced bool // something in the stream has no known end
}

// digesting is what a lane needs for digests; the host's side is pinned.
type digestRoom struct {
	got, want, meta, scratch    cuda.Ptr
	scratchBytes                int64
	hostGot, hostWant, hostMeta []byte
}

// numberBytes is the room for a page's number.
const numberBytes = 4

// metaHead is the room for the number of changed pages, before their indices.
const metaHead = 16

// slot is one batch under way.
type slot struct {
	done    *cuda.Event
	numbers []uint32 // of the pages, pinned
	places  []place

	work     *work
	from, n  int // pages of the work
	lane     *lane
	err      error
	queries  int  // that failed
	coded    bool // the pages cross the link coded
	bytes    int  // of the payloads of a coded batch in
	fetching bool // the changed digests, or the payloads, are under way
	unmarked bool // done does not tell the end
}

// carver hands out parts of an allocation.
type carver struct{ used int64 }

// take returns the offset of the next bytes, aligned for every use.
func (c *carver) take(bytes int64) int64 {
	at := c.used
	c.used += (bytes + 255) &^ 255
	return at
}

// sizes are what one way takes, as offsets into its two allocations.
type sizes struct {
	device, host carver
	tables       [slotsPerWay]int64
	lanes        [lanesPerWay]struct {
		staging, numbers                    int64
		got, want, meta, scratch            int64
		bounce, hostGot, hostWant, hostMeta int64
		coding                              codingSizes
	}
}

// newSizes lays the memory of a way out.
func (c *cache) newSizes(d pager.Direction) *sizes {
	s := new(sizes)
	most := int64(max(c.limits.batchPages, c.limits.digestPages))
	for i := range s.tables {
		s.tables[i] = s.host.take(numberBytes * most)
	}
	for i := range s.lanes {
		l := &s.lanes[i]
		l.staging = s.device.take(c.limits.extentBytes)
		l.numbers = s.device.take(numberBytes * most)
		l.bounce = s.host.take(c.limits.extentBytes)
		if c.coder != nil {
			c.coder.take(s, &l.coding, c.limits.batchPages)
		}
		if d != pager.Out {
			continue
		}
		sums, meta := c.limits.sumBytes(len(c.parts)), metaHead+4*int64(c.limits.digestPages)
		l.got, l.want, l.meta = s.device.take(sums), s.device.take(sums), s.device.take(meta)
		l.hostGot, l.hostWant, l.hostMeta = s.host.take(sums), s.host.take(sums), s.host.take(meta)
		l.scratch = s.device.take(kernels.ScratchBytes(c.parts, c.limits.digestPages))
	}
	return s
}

// take takes the memory, the streams and the events of a way.
func (w *way) take(priority int) (err error) {
	c := w.c
	s := c.newSizes(w.direction)
	if w.device, err = c.device.Alloc(s.device.used); err != nil {
		return fmt.Errorf("gpu: %d bytes of staging: %w", s.device.used, err)
	}
	if w.host, err = c.device.Pin(s.host.used, cuda.PinOptions{}); err != nil {
		return fmt.Errorf("gpu: %d bytes of pinned memory: %w", s.host.used, err)
	}
	mem := w.host.Bytes()
	most := max(c.limits.batchPages, c.limits.digestPages)
	for _, at := range s.tables {
		sl := &slot{
			numbers: unsafe.Slice((*uint32)(unsafe.Pointer(&mem[at])), most),
			places:  make([]place, 0, c.limits.batchPages),
		}
		w.slots = append(w.slots, sl)
		if sl.done, err = c.device.NewEvent(cuda.EventOptions{}); err != nil {
			return fmt.Errorf("gpu: event: %w", err)
		}
	}
	w.free = append(w.free, w.slots...)
	if c.coder != nil {
		w.crew.start(c.coder.workers)
	}
	for i := range s.lanes {
		l := c.newLane(s, i, w.device.Ptr(), mem, w.direction)
		w.lanes = append(w.lanes, l)
		if l.stream, err = c.device.NewStream(cuda.StreamOptions{Priority: priority}); err != nil {
			return fmt.Errorf("gpu: stream: %w", err)
		}
	}
	return nil
}

// newLane cuts lane i out of a way's memory.
func (c *cache) newLane(s *sizes, i int, base cuda.Ptr, mem []byte, d pager.Direction) *lane {
	at := &s.lanes[i]
	view := func(from, bytes int64) []byte { return mem[from : from+bytes : from+bytes] }
	l := &lane{
		staging: base + cuda.Ptr(at.staging), numbers: base + cuda.Ptr(at.numbers),
		bounce: view(at.bounce, c.limits.extentBytes),
	}
	if c.coder != nil {
		l.coding = c.coder.cut(&at.coding, base, view, c.limits.batchPages)
	}
	if d != pager.Out {
		return l
	}
	sums, meta := c.limits.sumBytes(len(c.parts)), metaHead+4*int64(c.limits.digestPages)
	l.digests = digestRoom{
		got: base + cuda.Ptr(at.got), want: base + cuda.Ptr(at.want), meta: base + cuda.Ptr(at.meta),
		scratch: base + cuda.Ptr(at.scratch), scratchBytes: kernels.ScratchBytes(c.parts, c.limits.digestPages),
		hostGot: view(at.hostGot, sums), hostWant: view(at.hostWant, sums), hostMeta: view(at.hostMeta, meta),
	}
	return l
}

// address returns where pinned memory lies, for a copy.
func address(mem []byte) cuda.Ptr { return cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// close frees what take took. Nothing may be under way.
func (w *way) close(keep func(error)) {
	for _, l := range w.lanes {
		if l.stream != nil {
			keep(l.stream.Close())
		}
	}
	for _, s := range w.slots {
		if s.done != nil {
			keep(s.done.Close())
		}
	}
	w.crew.stop()
	w.nap.Close()
	if w.host != nil {
		keep(w.host.Close())
	}
	if w.device != nil {
		keep(w.device.Free())
	}
}
