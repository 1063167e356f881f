package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// request asks the committer for a step of the log. What many goroutines ask
// for meanwhile becomes one step.
type request struct {
	// flush makes what was put before durable.
	flush bool
	// settle writes what was put into the cache before to the log, durable or
	// not.
	settle bool
	// build, if not nil, adds operations. It runs with the log locked, when
	// state says all that was committed before, blobs of this step included.
	build func(v *view, o *ops) error
	// lazy operations need not be durable.
	lazy bool
	// room says what the operations are to the room on the disk.
	room room

	ctx  context.Context //nolint:containedctx // whose request it is
	err  error
	done chan struct{}
}

// committer is the one goroutine of a store that writes to the log.
type committer struct {
	s *Store

	mu      sync.Mutex
	queue   []*request
	nudged  [2]bool
	closed  bool
	wake    chan struct{}
	stopped chan struct{}

	usual int           // how many requests a step is likely to get
	took  time.Duration // for the last step

	beside func() error  // makes what a step adds durable beside its transaction
	batch  []pendingBlob // these are reused
	spots  []packfile.Spot
	ops    ops
}

func startCommitter(s *Store) *committer {
	c := &committer{s: s, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go c.loop()
	return c
}

// submit waits until the request is done. A context that ends before the
// request's step began withdraws it; then it waits for the outcome, so that
// nobody is left not knowing whether a snapshot was committed.
func (c *committer) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.ctx, r.done = ctx, make(chan struct{})
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("pack: %w", kvferry.ErrClosed)
	}
	c.queue = append(c.queue, r)
	c.mu.Unlock()
	c.awake()
	<-r.done
	return r.err
}

// nudge asks for what is pending in a class to be written to the log some time
// soon.
func (c *committer) nudge(class cas.Class) {
	c.mu.Lock()
	c.nudged[class] = true
	c.mu.Unlock()
	c.awake()
}

func (c *committer) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stop ends the goroutine after what was asked for.
func (c *committer) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.awake()
	<-c.stopped
}

func (c *committer) loop() {
	defer close(c.stopped)
	for range c.wake {
		for {
			c.gather()
			c.mu.Lock()
			group, nudged, closed := c.queue, c.nudged, c.closed
			c.queue, c.nudged = nil, [2]bool{}
			c.mu.Unlock()
			if len(group) == 0 && nudged == [2]bool{} {
				if closed {
					return
				}
				break
			}
			began := time.Now()
			c.step(slices.Clone(group), nudged)
			c.count(len(group), time.Since(began))
			for _, r := range group {
				close(r.done)
			}
		}
	}
}

// step runs requests together: one synchronisation of the packs, one of the
// log.
func (c *committer) step(group []*request, nudged [2]bool) {
	ctx := context.Background()
	flush := false
	wanted := group[:0]
	for _, r := range group {
		if r.err = r.ctx.Err(); r.err == nil {
			flush = flush || r.flush
			nudged[cas.Cache] = nudged[cas.Cache] || r.settle
			wanted = append(wanted, r)
		}
	}
	group = wanted
	var taken [2]bool
	for class := range taken {
		if p := &c.s.pending[class]; (flush || nudged[class]) && p.count.Load() > 0 {
			taken[class] = true
			p.take()
		}
	}
	beside := flush && taken == [2]bool{cas.Snapshot: true} && c.fits(group)
	err := c.hardenAll(ctx, group, taken, flush, beside)
	if err != nil && beside { // the log took it back; what is in the next pack has another chance
		err = c.hardenAll(ctx, group, taken, flush, false)
	}
	for class := range taken {
		if taken[class] {
			c.settled(cas.Class(class), err == nil)
		}
	}
	if errors.Is(err, kvferry.ErrNoSpace) {
		group = c.freeing(ctx, group)
	}
	for _, r := range group {
		if r.err == nil {
			r.err = err
		}
	}
	c.s.considerCheckpoint()
}

// settled ends a step for the blobs of a class. Packs whose blobs are all in
// the log may be let go.
func (c *committer) settled(class cas.Class, ok bool) {
	p := &c.s.pending[class]
	if ok {
		c.spots = p.dismiss(c.spots[:0])
	} else {
		c.spots = p.giveBack(c.spots[:0])
	}
	c.s.settle(class, c.spots)
	if lane, err := c.s.lane(class); err == nil {
		lane.ReleaseAll(c.spots)
	}
}

// write appends to the log what the group wants.
func (c *committer) write(ctx context.Context, group []*request, taken [2]bool) error {
	s := c.s
	builds, durable, flush, least := 0, false, false, frees
	for _, r := range group {
		flush = flush || r.flush
		if r.build != nil {
			builds++
			least = min(least, r.room)
		}
		durable = durable || r.flush || !r.lazy
	}
	nothing := taken == [2]bool{} && builds == 0
	if nothing && !flush {
		return nil
	}
	c.pin(taken)
	w, err := s.lockLog(ctx)
	if err != nil {
		return err
	}
	defer s.unlockLog(w)
	if nothing { // it may have been written to the log without being asked for, and not be durable
		return w.Sync()
	}
	if taken != [2]bool{} {
		least = spends
	}
	w.Keep(s.keep(least))
	for class := range taken {
		if taken[class] {
			if err := c.writeBlobs(w, cas.Class(class), durable && builds == 0); err != nil {
				return err
			}
		}
	}
	return c.writeBuilds(w, group, builds, durable)
}

// pin tells other processes what sessions are about to hold, before the log
// shows it to their collectors.
func (c *committer) pin(taken [2]bool) {
	if !taken[cas.Snapshot] {
		return
	}
	c.batch = c.s.pending[cas.Snapshot].batch(c.batch[:0])
	by := map[*session][]uint64{}
	for i := range c.batch {
		b := &c.batch[i]
		by[b.first] = append(by[b.first], prefixOf(b.d))
		for _, x := range b.others {
			by[x] = append(by[x], prefixOf(b.d))
		}
	}
	for x, prefixes := range by {
		if err := x.pins.add(prefixes...); err != nil { // that is no reason for the others to fail
			x.injure(err)
			c.s.pending[cas.Snapshot].forget(x)
		}
	}
}

// writeBlobs appends where the blobs of a class are.
func (c *committer) writeBlobs(w *journal.Writer, class cas.Class, durable bool) (err error) {
	s := c.s
	c.batch = s.pending[class].batch(c.batch[:0])
	var list []stored
	var own []int
	pack, newest := uint64(0), int64(0)
	c.ops = c.ops[:0]
	emit := func() {
		if len(list) > 0 {
			c.ops.add(pack, class, newest, list)
			list, newest = list[:0], 0
		}
	}
	for i := range c.batch {
		b := &c.batch[i]
		if s.needless(b, class) {
			continue
		}
		if b.at.Pack != pack || len(list) == listMax {
			emit()
			pack = b.at.Pack
		}
		list = append(list, stored{b.d, b.at.Off, b.at.Bytes})
		own = append(own, i)
		newest = max(newest, int64(b.written))
	}
	emit()
	switch {
	case len(c.ops) == 0 && durable: // what there is need not be durable yet
		return w.Sync()
	case len(c.ops) == 0:
		return nil
	case c.beside != nil:
		err = s.appendBeside(w, c.ops, c.beside)
	default:
		err = s.append(w, c.ops, durable)
	}
	if err != nil {
		return err
	}
	epoch := s.soundEpoch()
	for _, i := range own {
		b := &c.batch[i]
		if class == cas.Cache {
			s.st().table.Touch(b.d, b.age)
		} else {
			s.st().table.Touch(b.d, epoch)
		}
	}
	return nil
}

// needless reports whether the log has something as good as b, or better:
// another process was faster, or a blob of the cache became one of snapshots
// since it was put or copied. A collection may have condemned that, and a
// session hold it nevertheless; the cache, which evicts, must not take it over.
func (s *Store) needless(b *pendingBlob, class cas.Class) bool {
	if class == cas.Cache {
		if _, p, ok := s.st().find(b.d); ok && p.class == cas.Snapshot {
			return true
		}
	}
	return !b.replace && s.known(b.d, class)
}

// known reports whether the log has a blob already that a session of the class
// can rest on.
func (s *Store) known(d digest.Digest, class cas.Class) bool {
	at, p, ok := s.st().find(d)
	return ok && !at.Has(table.Condemned) && !s.expired(p.class, p.newest.Load()) && (p.class == cas.Snapshot || class == cas.Cache)
}

// append writes one transaction and applies it.
func (s *Store) append(w *journal.Writer, payload []byte, durable bool) error {
	flags := journal.Flags(0)
	if durable {
		flags = journal.Durable
	}
	if err := w.Append([][]byte{payload}, flags); err != nil {
		return err
	}
	return s.apply(journal.Tx{Payload: payload})
}

// writeBuilds appends what the requests build, in one transaction.
func (c *committer) writeBuilds(w *journal.Writer, group []*request, builds int, durable bool) error {
	if builds == 0 {
		return nil
	}
	v := c.s.st().view(builds > 1)
	var all ops
	for _, r := range group {
		if r.build == nil {
			continue
		}
		from := len(all)
		if r.err = r.build(v, &all); r.err != nil {
			all = all[:from]
			continue
		}
		if builds > 1 {
			if err := apply(all[from:], viewApplier{v}); err != nil {
				return err
			}
		}
	}
	if len(all) == 0 {
		if durable { // what was added before is not durable yet
			return w.Sync()
		}
		return nil
	}
	return c.s.append(w, all, durable)
}
