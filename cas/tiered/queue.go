package tiered

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// queue is what far does not have yet, see the package comment.
type queue struct {
	near  cas.Store
	files *files
	limit int64
	fail  bool // a commit beyond the limit fails instead of waiting
	clock func() time.Time

	// clean counts bytes in near that only a sweep gives back. It begins with
	// one, for what an earlier process left.
	clean atomic.Int64

	// turn holds one token while nobody copies.
	turn chan struct{}
	// apply is held for reading by who looks at far's catalog and the queue
	// together, and for writing while far gets a change and the queue loses it.
	apply sync.RWMutex
	// edit excludes changes of the catalog other than commits from each other.
	edit sync.Mutex
	// write is held while a change gets its number and its file.
	write sync.Mutex

	mu      sync.Mutex
	pending []*change
	entries map[digest.Digest]cas.Entry // of near's catalog
	bytes   int64                       // of pending, and of commits on their way
	lastSeq uint64
	changed chan struct{} // closed, and replaced, when pending or bytes change
	err     error         // why the head cannot be copied
	since   time.Time

	rootMu     sync.Mutex
	committing map[digest.Digest]int // commits that are under way in near
}

// openQueue opens the queue's directory and makes it agree with near's catalog.
func openQueue(ctx context.Context, o Options) (*queue, error) {
	f, err := openFiles(o.QueueDir, o.Fault)
	if err != nil {
		return nil, err
	}
	q := &queue{near: o.Near, files: f, limit: o.QueueBytes, fail: o.FailWhenFull, clock: o.Clock,
		turn: make(chan struct{}, 1), changed: make(chan struct{}),
		entries: map[digest.Digest]cas.Entry{}, committing: map[digest.Digest]int{}}
	q.turn <- struct{}{}
	q.clean.Store(1)
	if err := q.load(ctx); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return q, nil
}

func (q *queue) load(ctx context.Context) error {
	entries, err := q.near.Catalog().Entries(ctx)
	if err != nil {
		return fmt.Errorf("tiered: near's catalog: %w", err)
	}
	for _, e := range entries {
		if len(e.Names) > 0 {
			return fmt.Errorf("tiered: near has a snapshot %v with the name %.140q, which is not of a queue: %w", e.Root, e.Names[0], kvferry.ErrInvalid)
		}
		q.entries[e.Root] = e
	}
	pending, err := q.files.load()
	if err != nil {
		return err
	}
	known := map[digest.Digest]bool{}
	for _, c := range pending {
		q.lastSeq = c.seq
		q.bytes += c.bytes
		known[c.root] = known[c.root] || c.kind == changeCommit
	}
	q.pending = pending
	for _, e := range entries {
		if known[e.Root] {
			continue
		}
		// A commit that did not come to its end, or whose change is lost.
		if err := q.push(&change{kind: changeCommit, root: e.Root, bytes: max(e.Bytes, 0)}, nil); err != nil {
			return err
		}
		q.bytes += max(e.Bytes, 0)
	}
	return nil
}

// push makes a change durable and the last of the queue. That of a commit
// comes with its entry, its bytes are reserved, and the commit is not under way
// any more.
func (q *queue) push(c *change, e *cas.Entry) error {
	q.write.Lock()
	defer q.write.Unlock()
	c.seq = q.lastSeq + 1
	if err := q.files.write(c); err != nil {
		q.lastSeq++ // a file that could not be taken back keeps its number
		return err
	}
	q.rootMu.Lock() // so that the commit is under way or queued for whoever asks
	defer q.rootMu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastSeq++
	q.pending = append(q.pending, c)
	if e != nil {
		q.entries[c.root] = *e
		q.endCommitLocked(c.root)
	}
	q.wakeLocked()
	return nil
}

func (q *queue) wakeLocked() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// head returns the first change, or nil and what tells of the next one.
func (q *queue) head() (*change, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		return nil, q.changed
	}
	return q.pending[0], q.changed
}

func (q *queue) empty() bool {
	c, _ := q.head()
	return c == nil
}

// last returns the number of the last change.
func (q *queue) last() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastSeq
}

// later reports whether a change behind c is of that kind and root.
func (q *queue) later(c *change, kind string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.pending, func(o *change) bool {
		return o.seq > c.seq && o.kind == kind && o.root == c.root
	})
}

// pop takes the head out, which far has.
func (q *queue) pop(c *change) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = q.pending[1:]
	q.bytes -= c.bytes
	q.err = nil
	q.wakeLocked()
}

// stand notes why the head cannot be copied.
func (q *queue) stand(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.since = q.clock()
	}
	q.err = err
}

func (q *queue) describe(st *State) {
	q.mu.Lock()
	defer q.mu.Unlock()
	st.QueuedChanges, st.QueuedBytes = len(q.pending), q.bytes
	if st.QueueErr = q.err; q.err != nil {
		st.QueueErrSince = q.since
	}
}

// reserve waits until the queue has room for n bytes, and calls alive in
// between so that the session does not expire.
func (q *queue) reserve(ctx context.Context, over <-chan struct{}, n int64, every time.Duration, alive func() error) error {
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		q.mu.Lock()
		if q.bytes == 0 || q.bytes+n <= q.limit {
			q.bytes += n
			q.mu.Unlock()
			return nil
		}
		changed, bytes, cause := q.changed, q.bytes, q.err
		q.mu.Unlock()
		if q.fail {
			return q.full(n, bytes, cause, kvferry.ErrQuota)
		}
		select {
		case <-changed:
		case <-tick.C:
			if err := alive(); err != nil {
				return err
			}
		case <-over:
			return closedErr("commit")
		case <-ctx.Done():
			return q.full(n, bytes, cause, ctx.Err())
		}
	}
}

// full says why there is no room: cause is what keeps far from taking more.
func (q *queue) full(n, bytes int64, cause, err error) error {
	err = fmt.Errorf("tiered: commit of %d bytes into a queue of %d, of at most %d: %w", n, bytes, q.limit, err)
	if cause != nil {
		err = fmt.Errorf("%w; far: %w", err, cause)
	}
	return err
}

// release gives back what was reserved for a commit that failed.
func (q *queue) release(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= n
	q.wakeLocked()
}

// beginCommit keeps near's entry of root for a commit that replaces it, until
// that is queued or has failed.
func (q *queue) beginCommit(root digest.Digest) {
	q.rootMu.Lock()
	defer q.rootMu.Unlock()
	q.committing[root]++
}

// failCommit ends a commit that will not be queued, and takes the entry away if
// no other commit needs it.
func (q *queue) failCommit(ctx context.Context, root digest.Digest) error {
	q.rootMu.Lock()
	q.endCommitLocked(root)
	q.rootMu.Unlock()
	return q.forget(ctx, root, nil)
}

func (q *queue) endCommitLocked(root digest.Digest) {
	if q.committing[root]--; q.committing[root] == 0 {
		delete(q.committing, root)
	}
}

// forget drops root from near's catalog unless a commit needs it: one that is
// under way, or one that is queued other than c.
func (q *queue) forget(ctx context.Context, root digest.Digest, c *change) error {
	q.rootMu.Lock()
	defer q.rootMu.Unlock()
	if q.committing[root] > 0 {
		return nil
	}
	q.mu.Lock()
	needed := slices.ContainsFunc(q.pending, func(o *change) bool {
		return o != c && o.kind == changeCommit && o.root == root
	})
	q.mu.Unlock()
	if needed {
		return nil
	}
	if err := q.near.Catalog().Drop(ctx, root); err != nil && !errors.Is(err, kvferry.ErrNotFound) {
		return fmt.Errorf("tiered: drop the copied %v from near: %w", root, err)
	}
	q.mu.Lock()
	delete(q.entries, root)
	q.mu.Unlock()
	return nil
}

// commitBack commits in near and queues the snapshot.
func (s *Store) commitBack(ctx context.Context, x *session, e cas.Entry) error {
	q := s.queue
	c, err := x.change(e)
	if err != nil {
		return err
	}
	alive := func() error { // a call on near's session renews its lease
		_, err := x.main.Has(ctx, e.Root)
		x.touch(err)
		return err
	}
	if err := q.reserve(ctx, s.ctx.Done(), c.bytes, x.lease/4, alive); err != nil {
		return err
	}
	q.beginCommit(e.Root)
	e.Names = nil
	if err = x.main.Commit(ctx, e); err == nil {
		e.Created = e.Created.Round(0).UTC()
		err = q.push(c, &e)
	}
	if err != nil {
		q.release(c.bytes)
		return errors.Join(err, q.failCommit(context.WithoutCancel(ctx), e.Root))
	}
	return nil
}

// change returns what the queue is told of a commit, or ErrInvalid.
func (x *session) change(e cas.Entry) (*change, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &change{kind: changeCommit, root: e.Root, bytes: x.bytes, names: sorted(e.Names)}
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, ok := x.held[e.Root]; !ok {
		return nil, fmt.Errorf("tiered: commit %v: it was neither put nor found in the session: %w", e.Root, kvferry.ErrInvalid)
	}
	return c, nil
}
