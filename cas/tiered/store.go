package tiered

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// Store is a store over two. Beside cas.Store it implements the optional
// abilities to enumerate, read batches, collect, check, quarantine and
// describe; where near or far cannot do what one of them needs, that is
// kvferry.ErrUnsupported.
type Store struct {
	o         Options
	near, far cas.Store
	opened    time.Time
	tools     sync.Pool // of *tools
	counts    counts
	flights   flights
	promoter  promoter
	hidden    hidden
	queue     *queue // nil in write-through
	// hint is that of the latest session: of what is copied from one store to
	// the other the stores know nothing.
	hint atomic.Pointer[codec.Hint]

	collecting chan struct{} // holds one token while no collection runs
	sweeping   sync.Mutex

	ctx     context.Context // of the store's own work; ends at Close
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	running  int           // calls
	idle     chan struct{} // closed when closed and running is 0
	sessions map[*session]struct{}
}

var (
	_ cas.Store       = (*Store)(nil)
	_ cas.Enumerator  = (*Store)(nil)
	_ cas.BatchGetter = (*Store)(nil)
	_ cas.Collector   = (*Store)(nil)
	_ cas.Checker     = (*Store)(nil)
	_ cas.Quarantiner = (*Store)(nil)
	_ cas.Stater      = (*Store)(nil)
)

// lastHint guides the codec of blobs that are copied.
func (s *Store) lastHint() codec.Hint {
	if h := s.hint.Load(); h != nil {
		return *h
	}
	return codec.Hint{}
}

// Open returns a store over near and far. In write-back it goes on with the
// queue that it finds: a change that cannot be read is ErrCorrupt, and a queue
// that another process has is ErrReadOnly. If Open fails, near and far are not
// closed.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if _, err := digest.NewHasher(digest.BLAKE3, o.Key); err != nil {
		return nil, fmt.Errorf("tiered: %w", err)
	}
	s := &Store{o: o, near: o.Near, far: o.Far, opened: o.Clock(),
		collecting: make(chan struct{}, 1), idle: make(chan struct{}), sessions: map[*session]struct{}{}}
	s.flights.of = map[digest.Digest]*flight{}
	s.promoter.s = s
	s.collecting <- struct{}{}
	if o.Mode == WriteBack {
		q, err := openQueue(ctx, o)
		if err != nil {
			return nil, err
		}
		s.queue = q
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // cancelled by Close
	if s.queue != nil {
		s.workers.Go(s.copyQueue)
	}
	return s, nil
}

// elapsed is the store's clock as time since it was opened.
func (s *Store) elapsed() time.Duration { return s.o.Clock().Sub(s.opened) }

// start begins a call, which stop ends.
func (s *Store) start(ctx context.Context, op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedErr(op)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("tiered: %s: %w", op, err)
	}
	s.running++
	return nil
}

// startWith is start for a call on the blob d.
func (s *Store) startWith(ctx context.Context, op string, d digest.Digest) error {
	if err := s.start(ctx, op); err != nil {
		return err
	}
	if !d.Valid() {
		s.stop()
		return fmt.Errorf("tiered: %s: the digest is invalid: %w", op, kvferry.ErrInvalid)
	}
	return nil
}

func (s *Store) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.closed && s.running == 0 {
		close(s.idle)
	}
}

func closedErr(op string) error {
	return fmt.Errorf("tiered: %s: %w", op, kvferry.ErrClosed)
}

// Has implements cas.Store. In write-through it is far's answer.
func (s *Store) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.startWith(ctx, "has", d); err != nil {
		return false, err
	}
	defer s.stop()
	if s.queue != nil && !s.hidden.has(d) {
		if has, err := s.near.Has(ctx, d); has || err != nil {
			return has, err
		}
	}
	return s.far.Has(ctx, d)
}

// openSessions returns the sessions that have not ended.
func (s *Store) openSessions() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sessions))
}

// Close implements cas.Store. It ends what runs in the background and waits
// for the calls that are running. What is queued stays so, and the next Open
// goes on; Drain empties the queue.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return closedErr("close")
	}
	s.closed = true
	if s.running == 0 {
		close(s.idle)
	}
	s.mu.Unlock()

	s.cancel()
	<-s.idle
	s.workers.Wait()
	errs := []error{s.promoter.end(context.Background(), true)}
	for _, x := range s.openSessions() {
		errs = append(errs, x.end())
	}
	if s.queue != nil {
		errs = append(errs, s.queue.files.close())
	}
	if s.o.CloseStores {
		errs = append(errs, s.near.Close(), s.far.Close())
	}
	return errors.Join(errs...)
}

// tools are what one goroutine needs to check blobs.
type tools struct {
	hasher *digest.Hasher
	buf    []byte
}

func (s *Store) borrow() *tools {
	if t, ok := s.tools.Get().(*tools); ok {
		return t
	}
	h, err := digest.NewHasher(digest.BLAKE3, s.o.Key)
	if err != nil {
		panic(err) // Open made one of the same key
	}
	return &tools{hasher: h}
}

func (s *Store) giveBack(t *tools) { s.tools.Put(t) }

// judgement is what is known about bytes that are said to be d's.
type judgement uint8

const (
	sound   judgement = iota
	wrong             // they are not d's
	unknown           // a keyed digest, made with a key that is not here
)

func (t *tools) judge(d digest.Digest, p []byte) judgement {
	switch err := t.hasher.Check(d, p); {
	case err == nil:
		return sound
	case d.Algorithm() == digest.KeyedBLAKE3: // with another tenant's key every sound blob looks wrong
		return unknown
	}
	return wrong
}

// load reads d from one of the stores into the tools' buffer, which grows.
func (t *tools) load(ctx context.Context, from cas.Store, d digest.Digest) ([]byte, error) {
	if t.buf == nil {
		t.buf = make([]byte, 64<<10)
	}
	for {
		n, err := from.Get(ctx, d, t.buf)
		if err == nil {
			return t.buf[:n], nil
		}
		if !errors.Is(err, kvferry.ErrShortBuffer) {
			return nil, err
		}
		t.buf = make([]byte, max(n, 4*len(t.buf)))
	}
}
