package cuda

// Copy is one contiguous copy. Each side is a device address or the address of
// pinned host memory; the driver tells them apart. Copies of one batch must not
// overlap and may run in any order.
type Copy struct {
	Dst, Src Ptr
	Bytes    uint64
}

// Method says how the copies of a batch reach the driver.
type Method uint8

// The methods. Batch falls back to Single where the driver has no
// cuMemcpyBatchAsync, or does not support it.
const (
	Batch  Method = 0 // one cuMemcpyBatchAsync, sources read in stream order
	Single Method = 1 // one cuMemcpyAsync for each
)

// Dim is the size of a grid or block; a zero counts as 1.
type Dim struct{ X, Y, Z uint32 }

// Submission is a list of steps for a stream. The zero value is empty. It keeps
// its memory over Reset, so that one that is used again allocates nothing. It is
// not safe for concurrent use.
type Submission struct {
	steps  []step
	copies []Copy
	params []byte
	slots  []uint32 // where each parameter of each launch begins in params
}

// The steps' kinds. C knows them by these numbers.
const (
	stepWait   = 1 // a: event
	stepRecord = 2 // a: event
	stepCopies = 3 // a: first of copies, b: count, c: Method
	stepFill   = 4 // a: address, b: bytes, c: value
	stepLaunch = 5 // a: function, b: first of slots, c: count
)

// step is one step; C reads it as it is.
type step struct {
	kind, shared uint32
	grid, block  [3]uint32
	a, b, c      uint64
}

// Reset makes q empty.
func (q *Submission) Reset() {
	q.steps, q.copies, q.params, q.slots = q.steps[:0], q.copies[:0], q.params[:0], q.slots[:0]
}

// Len returns the number of steps.
func (q *Submission) Len() int { return len(q.steps) }

// WaitEvent lets what follows begin when e is done.
func (q *Submission) WaitEvent(e *Event) { q.add(step{kind: stepWait, a: uint64(e.Handle())}) }

// RecordEvent makes e done when what is before has ended.
func (q *Submission) RecordEvent(e *Event) { q.add(step{kind: stepRecord, a: uint64(e.Handle())}) }

// Copy copies bytes; none is no step.
func (q *Submission) Copy(c Copy) {
	if c.Bytes == 0 {
		return
	}
	q.add(step{kind: stepCopies, a: uint64(len(q.copies)), b: 1, c: uint64(Single)})
	q.copies = append(q.copies, c)
}

// Copies copies all of cs, which it keeps no hold of, as one step.
func (q *Submission) Copies(cs []Copy, m Method) {
	first := len(q.copies)
	for _, c := range cs {
		if c.Bytes > 0 {
			q.copies = append(q.copies, c)
		}
	}
	if n := len(q.copies) - first; n > 0 {
		q.add(step{kind: stepCopies, a: uint64(first), b: uint64(n), c: uint64(m)})
	}
}

// Fill sets bytes of device memory.
func (q *Submission) Fill(p Ptr, value byte, bytes int64) {
	if bytes > 0 {
		q.add(step{kind: stepFill, a: uint64(p), b: uint64(bytes), c: uint64(value)})
	}
}

// Launch runs a kernel. Its parameters are copied.
func (q *Submission) Launch(f *Function, grid, block Dim, sharedBytes uint32, p *Params) {
	first, base := len(q.slots), uint32(len(q.params)+15)&^15
	for uint32(len(q.params)) < base {
		q.params = append(q.params, 0)
	}
	q.params = append(q.params, p.bytes...)
	for _, at := range p.slots {
		q.slots = append(q.slots, base+at)
	}
	q.add(step{
		kind: stepLaunch, shared: sharedBytes, grid: grid.whole(), block: block.whole(),
		a: uint64(f.handle()), b: uint64(first), c: uint64(len(p.slots)),
	})
}

func (q *Submission) add(s step) { q.steps = append(q.steps, s) }

func (d Dim) whole() [3]uint32 { return [3]uint32{max(d.X, 1), max(d.Y, 1), max(d.Z, 1)} }
