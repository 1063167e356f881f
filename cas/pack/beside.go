package pack

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
)

// besideBytes is how much is made durable beside the log, which takes one wait
// for the disk and not two. After a crash that much is read and written again,
// and of more the waits are the smaller part.
const besideBytes = 1 << 20

// maxPatience bounds the wait of gather.
const maxPatience = 200 * time.Microsecond

// fits reports whether a step's blobs can become durable beside the log: a
// transaction that rests on them must not survive without them, so there is
// none.
func (c *committer) fits(group []*request) bool {
	for _, r := range group {
		if r.build != nil {
			return false
		}
	}
	return c.s.pending[cas.Snapshot].bytes.Load() <= besideBytes
}

// hardenAll makes the packs durable, before what the log says of them or beside
// it.
func (c *committer) hardenAll(ctx context.Context, group []*request, taken [2]bool, flush, beside bool) error {
	c.beside = nil
	var err error
	for class := range taken {
		if taken[class] {
			class := cas.Class(class)
			err = errors.Join(err, c.harden(ctx, class, flush || class == cas.Snapshot, beside))
		}
	}
	if err != nil {
		return err
	}
	return c.write(ctx, group, taken)
}

// harden makes the packs of a class durable, or only writes them; beside the log
// it leaves both to the step's transaction. When a pack failed, the blobs that
// lay in it are lost and their sessions know; those in the next pack have
// another chance.
func (c *committer) harden(ctx context.Context, class cas.Class, sync, beside bool) error {
	lane, err := c.s.lane(class)
	if err != nil {
		return err
	}
	do := lane.Flush
	switch {
	case beside:
		do = func(ctx context.Context) error { return c.syncLater(ctx, lane) }
	case sync:
		do = lane.Sync
	}
	if err = do(ctx); err != nil {
		err = do(ctx)
	}
	if err == nil && c.s.lossy.Load() {
		// A blob may have become ready after its pack was given up.
		for x, cause := range c.s.pending[class].cull(lane.Check) {
			x.injure(cause)
		}
	}
	return err
}

// syncLater begins to write what is pending in the snapshots' packs, and keeps
// what makes it durable for the step's transaction.
func (c *committer) syncLater(ctx context.Context, lane *packfile.Lane) error {
	sync, err := lane.SyncLater(ctx)
	if err != nil {
		return err
	}
	c.beside = func() error {
		if err := sync(ctx); err != nil || !c.s.lossy.Load() {
			return err
		}
		for i := range c.batch { // some pack was lost at some time: none of these?
			if err := lane.Check(c.batch[i].at); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// appendBeside is append for blobs that become durable meanwhile.
func (s *Store) appendBeside(w *journal.Writer, payload []byte, beside func() error) error {
	if err := w.AppendBeside([]journal.Write{{Parts: [][]byte{payload}}}, beside); err != nil {
		return err
	}
	return s.apply(journal.Tx{Payload: payload})
}

// gather waits a moment for those who waited for the step before. They are
// likely to be back with their next blobs at once, and one step for all of them
// takes half as long as two.
func (c *committer) gather() {
	if c.usual < 2 {
		return
	}
	for end := time.Now().Add(min(c.took/2, maxPatience)); time.Now().Before(end); runtime.Gosched() {
		c.mu.Lock()
		enough := len(c.queue) >= c.usual || c.closed
		c.mu.Unlock()
		if enough {
			return
		}
	}
}

// count notes how many requests a step ended, and how many are there already.
func (c *committer) count(ended int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usual, c.took = ended+len(c.queue), took
}
