package events

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry/index/events/msg"
)

// rememberBatches is for how many batches it is known what they were, so that one
// that comes again is told from one of a sequence that began anew.
const rememberBatches = 1 << 14

// keepEvents is the longest slab of events that is kept for the next batch.
const keepEvents = 1 << 14

// stream is one publisher's sequence of batches. It outlives connections.
type stream struct {
	s     *source
	topic string
	here  presence // under the source's lock
	// forgotten: the worker was cleared, and what comes of it is another stream's.
	forgotten atomic.Bool

	mu     sync.Mutex
	in     *Ingester
	batch  msg.Batch
	begun  bool   // a batch was seen
	next   uint64 // sequence number that comes next
	sums   []uint64
	seed   maphash.Seed
	latest float64   // time of the newest batch
	idle   time.Time // before then no replay is tried
	failed int       // replays one after the other
	anew   bool      // the newest replay of everything brought something
	lossy  bool      // a replay that could have helped did not work: the worker has less than it might
	unique uint64    // the newest incarnation
	fresh  bool      // no batch was taken since the stream began
	left   bool      // the workers' leases are not held
}

func newStream(s *source, topic string, e Engine) *stream {
	in := newIngester(s.x, e, s.count)
	in.now = s.o.Now
	return &stream{s: s, topic: topic, in: in, sums: make([]uint64, rememberBatches), seed: maphash.MakeSeed()}
}

func bigEndian(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// take takes the batch with a sequence number.
func (st *stream) take(ctx context.Context, seq uint64, payload []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.forgotten.Load() {
		return errForgotten
	}
	if err := st.rejoin(ctx); err != nil {
		return err
	}
	if st.begun && st.lossy && st.mayReplay() {
		if err := st.recover(ctx, seq); err != nil || st.anew && seq < st.next {
			return err
		}
	}
	var err error
	switch {
	case !st.begun:
		err = st.begin(ctx, seq)
	case seq < st.next:
		if st.next-seq <= rememberBatches && st.sums[seq%rememberBatches] == st.sum(payload) {
			st.s.count.duplicates.Add(1)
			return nil
		}
		st.s.count.resets.Add(1)
		if err = st.restart(ctx); err == nil && seq > 0 {
			err = st.gap(ctx, seq)
		}
	case seq > st.next:
		st.s.count.gaps.Add(1)
		err = st.gap(ctx, seq)
	}
	if err != nil || seq < st.next { // a replay brought it already
		return err
	}
	return st.apply(ctx, seq, payload, true)
}

// begin is the first that is heard of a publisher.
func (st *stream) begin(ctx context.Context, seq uint64) error {
	if err := st.announce(ctx); err != nil {
		return err
	}
	st.begun, st.next, st.fresh = true, seq, true
	return nil
}

// announce tells the index of a new incarnation.
func (st *stream) announce(ctx context.Context) error {
	n := st.incarnation()
	return st.s.retry(ctx, func() error { return st.in.Announce(ctx, n) })
}

// incarnation returns the number of another one. What number the engine has for
// itself is not known: it is new whenever that could be.
func (st *stream) incarnation() uint64 {
	st.unique = max(st.unique+1, uint64(st.s.o.Now().UnixNano()))
	return st.unique
}

// restart is for a publisher that began anew: what it had is gone.
func (st *stream) restart(ctx context.Context) error {
	st.s.count.cleared.Add(1)
	n := st.incarnation()
	if err := st.s.retry(ctx, func() error { return st.in.restart(ctx, n) }); err != nil {
		return err
	}
	st.next, st.lossy, st.fresh = 0, false, false
	return nil
}

// clear is for a worker whose state is not known any more.
func (st *stream) clear(ctx context.Context) error {
	st.s.count.cleared.Add(1)
	return st.s.retry(ctx, func() error { return st.in.Clear(ctx) })
}

// gap is for batches from next up to seq that did not come: they are replayed, or
// the worker is cleared and goes on from seq.
func (st *stream) gap(ctx context.Context, seq uint64) error {
	st.lossy = st.s.conf.Replay != ""
	if st.mayReplay() {
		err := st.replay(ctx, st.next)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		st.lossy = err != nil
		if err == nil && st.next >= seq {
			return nil
		}
	}
	return st.goOn(ctx, seq)
}

// goOn clears the worker and goes on from a batch.
func (st *stream) goOn(ctx context.Context, seq uint64) error {
	if err := st.clear(ctx); err != nil {
		return err
	}
	st.next = seq
	return nil
}

// recover takes again all that the engine can replay, after a replay that did not
// work. If that gives nothing, what the worker has stays: it is less than it might
// be, but true.
func (st *stream) recover(ctx context.Context, seq uint64) error {
	err := st.replayAll(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st.lossy = err != nil
	if !st.anew || err == nil && st.next >= seq {
		return nil
	}
	return st.goOn(ctx, seq)
}

// apply takes a batch that is the next in its sequence. One that cannot be read
// leaves the worker's state unknown.
func (st *stream) apply(ctx context.Context, seq uint64, payload []byte, mayReplay bool) error {
	if st.fresh {
		st.in.late, st.fresh = seq > 0, false
	}
	err := st.batch.Decode(payload)
	if err != nil {
		st.s.count.decodeErrors.Add(1)
		err = errors.Join(err, errBatch)
	} else {
		err = st.s.retry(ctx, func() error { return st.in.Ingest(ctx, &st.batch) })
		st.latest = st.batch.Seconds
	}
	if cap(st.batch.Events) > keepEvents && len(st.batch.Events) < keepEvents {
		st.batch = msg.Batch{}
	}
	if err != nil && !errors.Is(err, errBatch) {
		return err
	}
	if err != nil && mayReplay && st.mayReplay() {
		// Perhaps only this copy is damaged.
		if st.replay(ctx, seq) == nil && st.next > seq {
			return nil
		}
	}
	if err != nil {
		if err := st.clear(ctx); err != nil {
			return err
		}
	}
	st.sums[seq%rememberBatches] = st.sum(payload)
	st.next = seq + 1
	return nil
}

func (st *stream) sum(payload []byte) uint64 { return maphash.Bytes(st.seed, payload) }

// flush writes what is held back, and notes how old the newest of it is.
func (st *stream) flush(ctx context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.forgotten.Load() {
		return nil
	}
	err := st.written(ctx)
	if at := millis(st.latest); err == nil && at != 0 {
		st.s.count.lagMs.Store(uint64(max(st.s.o.Now().UnixMilli()-int64(at), 0)))
	}
	return err
}

// written writes what the Ingester holds back.
func (st *stream) written(ctx context.Context) error {
	err := st.s.retry(ctx, func() error { return st.in.Flush(ctx) })
	if errors.Is(err, errBatch) {
		err = st.clear(ctx)
	}
	return err
}

// rejoin takes part again in the lives of workers that were let go.
func (st *stream) rejoin(ctx context.Context) error {
	if !st.left {
		return nil
	}
	n, ended := st.incarnation(), false
	err := st.s.retry(ctx, func() error {
		one, err := st.in.rejoin(ctx, n)
		ended = ended || one
		return err
	})
	if err != nil {
		return err
	}
	st.left = false
	if ended {
		st.lost()
	}
	return nil
}

// lost notes that the worker has less in the index than it holds.
func (st *stream) lost() {
	st.s.count.cleared.Add(1)
	st.lossy = st.s.conf.Replay != ""
}

// lapsed is for leases that ran out: what the worker had is gone, and is taken
// again where the engine can replay it.
func (st *stream) lapsed(ctx context.Context, workers []string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.forgotten.Load() {
		return nil
	}
	// What waits goes first, and if the index refuses it, that is the engine's
	// fault and not the end of following leases.
	if err := st.written(ctx); err != nil {
		return err
	}
	var ours bool
	err := st.s.retry(ctx, func() error {
		one, err := st.in.lapse(ctx, workers)
		ours = ours || one
		return err
	})
	if err != nil || !ours {
		return err
	}
	st.lost()
	if !st.begun || !st.mayReplay() {
		return nil
	}
	if err := st.refill(ctx); err != nil {
		return err
	}
	return st.written(ctx) // no message may come that would see to it
}
