package packfile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Spot is the place of a record.
type Spot struct {
	Pack  uint64
	Off   int64 // of its first byte in the pack
	Bytes int64 // its size, padding included
}

// LaneOptions say where and how a lane writes. FS, Class and NextID must be
// given.
type LaneOptions struct {
	FS      vfs.FS
	Class   Class
	StoreID [16]byte
	Stream  uint64
	// PackBytes is how long a pack may become, unless a single record is
	// longer; at most and by default 256 MiB.
	PackBytes int64
	// BufferBytes is about how much is written at a time, 4 MiB by default. A
	// buffer takes somewhat more memory, by default 6 MiB.
	BufferBytes int
	// Buffers is how many buffers there are: one is being filled while the
	// others are written. 4 by default, at least 2.
	Buffers int
	// Direct moves data past the page cache where the file system can.
	Direct bool
	// NextID returns a candidate for the id of a new pack. If there is such a
	// pack already, it is asked again.
	NextID func() uint64
	// Adopt, if not nil, returns a pack of a dead process to go on with, and
	// the end of what the log says is in it.
	Adopt func() (id uint64, end int64, ok bool)
	// Lost is called once for each pack of which a write or synchronisation
	// failed, before anything that waits for the pack returns: what is in it
	// from the offset on may not be there. It may call ReadBuffered, Check and
	// Active, and must not wait for anything else of the lane.
	Lost func(pack uint64, from int64, err error)
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// EnsureDefaults fills in what was left out.
func (o *LaneOptions) EnsureDefaults() {
	if o.PackBytes <= 0 || o.PackBytes > table.MaxOffset {
		o.PackBytes = table.MaxOffset
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = 4 << 20
	}
	if o.Buffers <= 0 {
		o.Buffers = 4
	}
	o.Buffers = max(o.Buffers, 2)
	if o.Lost == nil {
		o.Lost = func(uint64, int64, error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Lane writes records one behind the other into packs of one class. It is safe
// for concurrent use.
//
// An error of a write or of a synchronisation poisons its pack: nothing of it is
// tried again, LaneOptions.Lost is told what is lost, and the next Append goes on
// in a new pack.
type Lane struct {
	o LaneOptions

	// turn is held by who places records, one at a time, and by who closes
	// buffers and packs: a mutex whose wait ends with a context. It comes
	// before mu.
	turn chan struct{}
	free chan *buffer
	jobs sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	dropped bool    // Close was cut short: what is not written yet stays so
	gaveUp  bool    // ... and there was something
	active  *pack   // receives the next record; nil before the first
	open    *buffer // of active, receives the next record; or nil
	live    []*buffer
	leaving []*pack          // being closed
	packs   map[uint64]*pack // those that have records which were not released
	lost    map[uint64]*pack
	news    []error       // poisoned packs that no Sync has told of
	odd     []error       // what went wrong without loss
	changed chan struct{} // closed at the next change, for those who wait
	next    *round        // the synchronisation that begins next
	syncing bool
	seq     uint64 // of the youngest buffer
}

// NewLane returns a lane. It makes no file and starts nothing before the first
// Append. It must be closed.
func NewLane(o LaneOptions) *Lane {
	o.EnsureDefaults()
	l := &Lane{
		o:     o,
		turn:  make(chan struct{}, 1),
		free:  make(chan *buffer, o.Buffers),
		lost:  map[uint64]*pack{},
		packs: map[uint64]*pack{},
		live:  make([]*buffer, 0, o.Buffers),
	}
	for range o.Buffers {
		l.free <- &buffer{}
	}
	return l
}

// Append reserves the place of a record of the given size, which RecordBytes
// returned, and lets fill write all of it there. Several goroutines fill their
// places at the same time. The bytes are written in the background; while too
// many wait for that, Append waits, until ctx ends. Without room on the file
// system it is ErrNoSpace, and nothing has changed.
//
// A record that Append returned may be lost before Sync returns; see there. Its
// pack stays locked until ReleaseAll is told that it no longer matters.
func (l *Lane) Append(ctx context.Context, bytes int64, fill func(dst []byte)) (s Spot, err error) {
	if bytes <= 0 || table.RoundSize(bytes) != bytes {
		return Spot{}, fmt.Errorf("packfile: append a record of %d bytes: %w", bytes, kvferry.ErrInvalid)
	}
	b, s, err := l.reserve(ctx, bytes)
	if err != nil {
		return Spot{}, fmt.Errorf("packfile: append %d bytes: %w", bytes, err)
	}
	defer func() { // also if fill panics, so that nobody waits for it
		if failed := l.filled(b); failed != nil {
			l.ReleaseAll([]Spot{s})
			s, err = Spot{}, fmt.Errorf("packfile: append %d bytes: %w", bytes, failed)
		}
	}()
	at := s.Off - b.base
	fill(b.mem[at : at+bytes : at+bytes])
	return s, nil
}

// enter takes the turn.
func (l *Lane) enter(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Lane) leave() { <-l.turn }

// reserve finds the place of a record. The buffer waits until it is filled.
func (l *Lane) reserve(ctx context.Context, bytes int64) (*buffer, Spot, error) {
	if err := l.enter(ctx); err != nil {
		return nil, Spot{}, err
	}
	defer l.leave()
	for {
		b, s, err := l.place(bytes)
		if b != nil || err != nil {
			return b, s, err
		}
		if err := l.makeRoom(ctx, bytes); err != nil {
			return nil, Spot{}, err
		}
	}
}

// place reserves room in the open buffer if there is any.
func (l *Lane) place(bytes int64) (*buffer, Spot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, Spot{}, kvferry.ErrClosed
	}
	b := l.open
	if b == nil || b.p.err != nil || !b.holds(bytes) || !b.p.holds(b.end(), bytes) || b.end()+bytes > b.p.allocated {
		return nil, Spot{}, nil
	}
	s := Spot{Pack: b.p.id, Off: b.end(), Bytes: bytes}
	b.used += int(bytes)
	b.fills++
	b.p.refs++
	l.packs[b.p.id] = b.p
	return b, s, nil
}

// makeRoom does the next thing that is needed before a record of the given size
// can be placed. The turn is held.
func (l *Lane) makeRoom(ctx context.Context, bytes int64) error {
	l.mu.Lock()
	p, b := l.active, l.open
	poisoned := p != nil && p.err != nil
	l.mu.Unlock()
	if p == nil {
		return l.begin(ctx)
	}
	at := p.end
	if b != nil {
		if at = b.end(); !b.holds(bytes) {
			at = roundUp(at)
		}
	}
	switch {
	case poisoned || !p.holds(at, bytes):
		l.rollOver(true)
		return nil
	case max(at, firstOff)+bytes > p.allocated:
		return p.grow(max(at, firstOff) + bytes)
	default:
		return l.turnBuffer(ctx, bytes)
	}
}

// signalLocked wakes everybody who waits for a change.
func (l *Lane) signalLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// await waits until done, which is called under the lock, says so.
func (l *Lane) await(ctx context.Context, done func() bool) error {
	for {
		l.mu.Lock()
		if done() {
			l.mu.Unlock()
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
