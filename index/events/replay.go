package events

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// endOfReplay is the sequence number behind the last batch of a replay.
const endOfReplay = math.MaxUint64

// mostDoublings is how often the time without replays is doubled.
const mostDoublings = 4

// mayReplay reports whether there is a replay, and it did not fail lately.
func (st *stream) mayReplay() bool {
	return st.s.conf.Replay != "" && !st.s.o.Now().Before(st.idle)
}

// sync compares the stream with the engine's replay and takes what was missed.
func (st *stream) sync(ctx context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.forgotten.Load() {
		return nil
	}
	if err := st.rejoin(ctx); err != nil {
		return err
	}
	if !st.mayReplay() {
		return nil
	}
	if st.begun && st.lossy {
		return st.refill(ctx)
	}
	if !st.begun {
		if err := st.begin(ctx, 0); err != nil {
			return err
		}
		err := st.replay(ctx, 0)
		// If that gave nothing, the first message is the beginning. If it broke off,
		// the next message will show a gap.
		st.begun = st.next > 0
		st.lossy = err != nil
		if ctx.Err() != nil || errors.Is(err, kvferry.ErrClosed) {
			return err
		}
		return nil
	}
	if err := st.replay(ctx, st.next); ctx.Err() != nil || errors.Is(err, kvferry.ErrClosed) {
		return err
	}
	return nil // a gap, if there is one, will be seen by the next message
}

// replay asks for the batches from a sequence number and takes them. Where the
// stream has seen the batch before that, it asks for that one too: if it is
// another now, the publisher began anew.
func (st *stream) replay(ctx context.Context, from uint64) error {
	ctx, cancel := context.WithTimeout(ctx, st.s.o.ReplayTimeout)
	defer cancel()
	known := st.begun && from > 0 && from == st.next
	if known {
		from--
	}
	r := replayer{st: st, known: known, fresh: st.next == 0, from: from}
	err := r.run(ctx)
	if err == nil && r.begin {
		// Its sequence is another one: all of it is missing.
		st.s.count.resets.Add(1)
		if err = st.restart(ctx); err == nil {
			r = replayer{st: st, fresh: true}
			err = r.run(ctx)
		}
	}
	return st.replayed(err)
}

// replayAll asks for everything. The worker is cleared as soon as something comes.
func (st *stream) replayAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, st.s.o.ReplayTimeout)
	defer cancel()
	r := replayer{st: st, all: true}
	err := r.run(ctx)
	st.anew = r.any
	return st.replayed(err)
}

// replayed notes how a replay ended. One that fails again and again is tried ever
// more seldom, since nothing is read meanwhile.
func (st *stream) replayed(err error) error {
	if err != nil {
		st.s.count.replayErrors.Add(1)
		st.idle = st.s.o.Now().Add(st.s.o.ReplayTimeout << st.failed)
		st.failed = min(st.failed+1, mostDoublings)
		return err
	}
	st.s.count.replays.Add(1)
	st.failed = 0
	return nil
}

// replayer is one request for a replay.
type replayer struct {
	st    *stream
	from  uint64
	known bool // from is a batch that was taken before
	fresh bool // nothing of this incarnation is in the index yet
	all   bool // what was taken before is replaced by what comes
	begin bool // the publisher has another sequence
	any   bool // a batch came
}

func (r *replayer) run(ctx context.Context) error {
	st := r.st
	c, err := zmtp.Dial(ctx, st.s.conf.Replay, "DEALER", st.s.o.limits())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.Write(nil, binary.BigEndian.AppendUint64(nil, r.from)); err != nil {
		return err
	}
	for {
		m, err := c.Read()
		if err != nil {
			return err
		}
		seq, payload, err := r.parse(m)
		if err != nil {
			return err
		}
		if seq == endOfReplay {
			r.begin = r.known && !r.any
			return nil
		}
		if err := r.take(ctx, m, seq, payload); err != nil || r.begin {
			return err
		}
	}
}

// parse takes an answer apart: "", topic (newer engines), sequence number, payload.
func (r *replayer) parse(m zmtp.Message) (seq uint64, payload []byte, err error) {
	if n := len(m); n < 3 || n > 4 || len(m[0]) != 0 || len(m[n-2]) != 8 {
		return 0, nil, fmt.Errorf("events: replay of %q answers with %d frames: %w", r.st.s.conf.Name, len(m), kvferry.ErrCorrupt)
	}
	return bigEndian(m[len(m)-2]), m[len(m)-1], nil
}

// take takes one batch of the replay.
func (r *replayer) take(ctx context.Context, m zmtp.Message, seq uint64, payload []byte) error {
	st := r.st
	if len(m) == 4 && st.s.conf.WorkerFromTopic && string(m[1]) != st.topic {
		return nil // of another worker
	}
	first := !r.any
	r.any = true
	if first && r.all {
		if err := st.goOn(ctx, seq); err != nil {
			return err
		}
	}
	switch {
	case first && r.known && seq == r.from:
		r.begin = st.sums[seq%rememberBatches] != st.sum(payload)
		return nil
	case seq < st.next && first:
		return fmt.Errorf("events: replay of %q begins at %d, %d was asked for: %w", st.s.conf.Name, seq, r.from, kvferry.ErrCorrupt)
	case seq < st.next:
		return fmt.Errorf("events: replay of %q goes back to %d: %w", st.s.conf.Name, seq, kvferry.ErrCorrupt)
	case seq > st.next || first && r.known:
		// The engine has no more of what was before, or what it has cannot be told
		// from that of another incarnation.
		if !first || !r.fresh {
			if err := st.clear(ctx); err != nil {
				return err
			}
		}
		st.next = seq
	}
	return st.apply(ctx, seq, payload, false)
}

// refill takes again all that the engine can replay, between two messages. What
// breaks off in its midst is a gap before the next.
func (st *stream) refill(ctx context.Context) error {
	err := st.replayAll(ctx)
	if ctx.Err() != nil || errors.Is(err, kvferry.ErrClosed) {
		return err
	}
	st.lossy = err != nil && !st.anew
	return nil
}
