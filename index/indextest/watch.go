package indextest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var watchTests = []test{
	{name: "changes replayed on a snapshot", run: testFollow},
	{name: "announcements replayed", reopens: true, run: testFollowStale},
	{name: "each kind of change", run: testChanges},
	{name: "a number ahead", run: testAhead},
	{name: "too late", options: index.Options{History: 8}, run: testExpired},
	{name: "a slow watcher holds nobody up", options: index.Options{History: 8}, run: testSlowWatcher},
	{name: "a watcher that has had enough", run: testWatchBreak},
	{name: "watchers end with the index", run: testWatchClose},
}

// patience is how long a test waits before it says that something hangs.
const patience = 30 * time.Second

// follower holds a replica: a snapshot of an index, and its changes replayed.
type follower struct {
	replica *Model
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	seq     uint64 // the replica is at
	changes []index.Change
	started int // snapshots taken
	first   int // of them, until changes were kept
	err     error
	news    chan struct{} // closed when there is more
}

// follow starts a follower, and returns when it follows: changes are made until one
// came by Watch. They are puts and removals of a record of no other test. Where
// there is no Watch it returns nil, which follows nothing.
func (s *subject) follow() *follower {
	s.Helper()
	if s.config.NoWatch {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{cancel: cancel, done: make(chan struct{}), news: make(chan struct{})}
	x := s.Index
	go func() {
		defer close(f.done)
		for {
			err := f.run(ctx, x, s.options)
			if errors.Is(err, kvferry.ErrExpired) {
				continue
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.err = err
			return
		}
	}()
	s.Cleanup(f.stop)
	probe := with(block("probe", "probe", "probe", index.ObjectStore), func(r *index.Record) { r.Tenant = "probe" })
	for range 10_000 {
		s.put(probe)
		require.LessOrEqual(s, s.remove(removalOf(&probe)), 1) // another client may have cleared it away
		if f.watched(time.Millisecond) {
			f.reach(s.T, s.metrics().Seq)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.first = f.started
			return f
		}
	}
	require.Fail(s, "no change comes by Watch", "the follower's error: %v", f.err)
	return nil
}

// run fills the replica and replays changes.
func (f *follower) run(ctx context.Context, x index.Index, o index.Options) error {
	m := NewModel(o)
	seq, err := x.Snapshot(ctx, func(r *index.Record) error { return m.Put(ctx, []index.Record{cloned(r)}) })
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.replica, f.seq, f.changes = m, seq, nil
	f.started++
	f.tell()
	f.mu.Unlock()
	for c, err := range x.Watch(ctx, seq) {
		if err != nil {
			return err
		}
		if err := m.Apply(ctx, c); err != nil {
			return err
		}
		f.mu.Lock()
		f.seq = c.Seq
		f.changes = append(f.changes, clonedChange(c))
		f.tell()
		f.mu.Unlock()
	}
	return errors.New("the stream of changes ended without an error")
}

// tell wakes up who waits. The caller has the lock.
func (f *follower) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

// watched reports whether a change came by Watch, and waits for one for a while.
func (f *follower) watched(wait time.Duration) bool {
	f.mu.Lock()
	n, news := len(f.changes), f.news
	f.mu.Unlock()
	if n > 0 {
		return true
	}
	select {
	case <-news: // a change, or that the replica was filled
	case <-f.done:
	case <-time.After(wait):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes) > 0
}

// reach waits until the replica is at a number.
func (f *follower) reach(t *testing.T, seq uint64) {
	t.Helper()
	hung := time.After(patience)
	for {
		f.mu.Lock()
		at, news := f.seq, f.news
		f.mu.Unlock()
		if at >= seq {
			return
		}
		select {
		case <-news:
		case <-f.done:
			require.NoError(t, f.err, "the watcher ended at change %d of %d", at, seq)
		case <-hung:
			require.Fail(t, "changes do not come", "at %d of %d", at, seq)
		}
	}
}

// stop ends the follower.
func (f *follower) stop() {
	if f == nil {
		return
	}
	f.cancel()
	<-f.done
}

// like requires that the replica is what the index is, after all changes so far,
// and that none was left out.
func (f *follower) like(s *subject) {
	s.Helper()
	if f == nil {
		return
	}
	f.reach(s.T, s.metrics().Seq)
	want, err := snapshot(s.Context(), f.replica)
	require.NoError(s, err)
	requireRecords(s, s.all(), want)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.changes); i++ {
		require.Equal(s, f.changes[i-1].Seq+1, f.changes[i].Seq, "a change was left out")
	}
}

func cloned(r *index.Record) index.Record {
	c := *r
	for _, s := range []*string{&c.Model, &c.Tokenizer, &c.Tenant, &c.Prefix, &c.Hash, &c.Worker} {
		*s = strings.Clone(*s)
	}
	if name, ok := c.Adapter.Name(); ok {
		c.Adapter = index.Named(strings.Clone(name))
	}
	return c
}

func clonedChange(c *index.Change) index.Change {
	d := *c
	d.Worker = strings.Clone(c.Worker)
	d.Removals = slices.Clone(c.Removals)
	d.Records = nil
	for i := range c.Records {
		d.Records = append(d.Records, cloned(&c.Records[i]))
	}
	return d
}

func testFollow(s *subject) {
	u := newUniverse(runSeed(s, 0))
	followers := []*follower{s.follow()}
	for i := range 200 {
		o := u.write()
		require.NoError(s, o.apply(s.Context(), s).err, "%v", o)
		if i == 100 {
			followers = append(followers, s.follow(), s.follow())
		}
	}
	for _, f := range followers {
		f.like(s)
		require.Equal(s, f.first, f.started, "what is kept for watchers was enough")
		f.stop()
		require.ErrorIs(s, f.err, context.Canceled)
	}
	o := u.write()
	require.NoError(s, o.apply(s.Context(), s).err, "nobody watches any more")
}

// testFollowStale: a snapshot has no stale records, so an announcement that makes
// them live again says which.
func testFollowStale(s *subject) {
	same, lasting := tiers("same")
	another, _ := tiers("another")
	s.put(slices.Concat(same, another, lasting)...)
	s.announce("same", 5)
	s.announce("another", 5)
	s.reopen()
	f := s.follow()
	f.like(s)
	s.announce("another", 6)
	f.like(s)
	s.announce("same", 5)
	s.holds(slices.Concat(same, lasting)...)
	f.like(s)
	s.announce("same", 6)
	s.holds(lasting...)
	f.like(s)
}

func testChanges(s *subject) {
	a, b := block(index.Root, "b0", "w0", index.HBM), block("b0", "b1", "w0", index.LocalSSD)
	f := s.follow()
	first := s.metrics().Seq + 1
	s.put(a, b)
	s.remove(removalOf(&a), removalOf(&b))
	s.put(a)
	_, err := s.ClearWorker(s.Context(), "w0")
	require.NoError(s, err)
	s.put(a)
	require.NoError(s, s.Clear(s.Context()))
	s.put(a)
	_, err = s.Expire(s.Context(), 77)
	require.NoError(s, err)
	s.put(a)
	s.announce("w0", 5)
	s.announce("w0", 6)
	f.like(s)
	put := index.Change{Kind: index.DidPut, Records: []index.Record{a}}
	want := []index.Change{
		{Kind: index.DidPut, Records: []index.Record{a, b}},
		{Kind: index.DidRemove, Removals: []index.Removal{removalOf(&a), removalOf(&b)}},
		put,
		{Kind: index.DidClearWorker, Worker: "w0"},
		put,
		{Kind: index.DidClear},
		put,
		{Kind: index.DidExpire, Before: 77},
		put,
		{Kind: index.DidAnnounce, Worker: "w0", Incarnation: 5},
		{Kind: index.DidAnnounce, Worker: "w0", Incarnation: 6, Gone: true},
	}
	got := slices.DeleteFunc(slices.Clone(f.changes), func(c index.Change) bool { return c.Seq < first })
	require.Len(s, got, len(want))
	for i := range want {
		want[i].Seq = first + uint64(i)
		if len(got[i].Removals) == 0 {
			got[i].Removals = nil
		}
		require.Equal(s, want[i], got[i])
	}
}

// late returns the first thing that Watch yields behind a number that lies before
// the newest.
func (s *subject) late(after uint64) (uint64, error) {
	for c, err := range s.Watch(s.Context(), after) {
		if err != nil {
			return 0, err
		}
		return c.Seq, nil
	}
	return 0, errors.New("the stream of changes ended without an error")
}

func testExpired(s *subject) {
	s.follow() // from now on changes are kept
	first := s.metrics().Seq
	n := 200
	if s.config.OwnHistory {
		n = 3000
	}
	for i := range n {
		s.put(with(block(index.Root, "b", "w", index.HBM), func(r *index.Record) { r.Index = uint32(i % 10) }))
	}
	_, err := s.late(first)
	require.ErrorIs(s, err, kvferry.ErrExpired)
	newest := s.metrics().Seq
	require.Equal(s, first+uint64(n), newest)
	for back := uint64(1); back <= 8; back++ {
		seq, err := s.late(newest - back)
		require.NoError(s, err, "%d changes back of the 8 that are kept", back)
		require.Equal(s, newest-back+1, seq)
	}
}

// testAhead: a number that was not given yet is of another life of the index.
func testAhead(s *subject) {
	for range 2 {
		s.put(block(index.Root, "b", "w", index.HBM))
		newest := s.metrics().Seq
		for _, after := range []uint64{newest + 1, newest + 1<<20, math.MaxUint64} {
			_, err := s.late(after)
			require.ErrorIs(s, err, kvferry.ErrExpired, "behind %d of %d", after, newest)
		}
		s.follow() // the second time changes are kept
	}
}

func testSlowWatcher(s *subject) {
	f := s.follow()
	n := 100
	if s.config.OwnHistory {
		n = 3000
	}
	f.mu.Lock() // it cannot go on
	for i := range n {
		s.put(with(block(index.Root, "b", "w", index.HBM), func(r *index.Record) { r.Index = uint32(i % 10) }))
	}
	f.mu.Unlock()
	f.like(s)
}

func testWatchBreak(s *subject) {
	s.follow()
	before := s.metrics().Seq
	for i := range 5 {
		s.put(with(block(index.Root, "b", "w", index.HBM), func(r *index.Record) { r.Index = uint32(i) }))
	}
	var seqs []uint64
	for c, err := range s.Watch(s.Context(), before) {
		require.NoError(s, err)
		if seqs = append(seqs, c.Seq); len(seqs) == 3 {
			break
		}
	}
	require.Equal(s, []uint64{before + 1, before + 2, before + 3}, seqs)
	s.holds(s.all()...)
}

func testWatchClose(s *subject) {
	f := s.follow()
	require.NoError(s, s.Close())
	select {
	case <-f.done:
		require.ErrorIs(s, f.err, kvferry.ErrClosed)
	case <-time.After(patience):
		require.Fail(s, "the watcher goes on after Close")
	}
}

// testNoWatch: an index that has no Watch says so.
func testNoWatch(s *subject) {
	_, err := s.late(0)
	require.ErrorIs(s, err, kvferry.ErrUnsupported)
}
