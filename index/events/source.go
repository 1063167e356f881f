package events

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// maxStreams is how many workers a source that names them by topics may have. One
// more takes the place of the one that was silent longest: at once if it has no
// connection any more, else after silentFor.
const (
	maxStreams = 1024
	silentFor  = 10 * time.Minute
)

// source is one Source at work.
type source struct {
	x        index.Index
	conf     Source
	o        *Options
	count    *counters
	listener net.Listener
	ended    atomic.Bool // the index is closed

	mu      sync.Mutex
	streams map[string]*stream // by topic; of a source with one engine, by ""
	changed chan struct{}      // a connection ended; holds one
}

func newSource(x index.Index, conf Source, o *Options, c *counters) *source {
	return &source{
		x: x, conf: conf, o: o, count: c, streams: map[string]*stream{}, changed: make(chan struct{}, 1),
	}
}

// all returns the streams.
func (s *source) all() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.streams))
}

// connection is what a source knows of one connection.
type connection struct {
	*zmtp.Conn
	heard  map[*stream]bool // came through it
	synced map[*stream]bool // were compared with the replay since the connection began
	dirty  []*stream        // have records that are held back
}

// serve takes messages from a connection until it ends, and reports whether there
// was one.
func (s *source) serve(ctx context.Context, zc *zmtp.Conn) (heard bool) {
	stop := context.AfterFunc(ctx, func() { _ = zc.Close() })
	defer stop()
	defer func() { _ = zc.Close() }()
	s.count.connects.Add(1)
	c := &connection{Conn: zc, heard: map[*stream]bool{}, synced: map[*stream]bool{}}
	defer s.hungUp(c)
	flush := func() error { return c.flush(ctx) }
	zc.SetBeforeWait(flush)
	defer func() { _ = flush() }() // fails only if ctx ended, or is tried again with the next message
	if zc.Subscribe(s.conf.Topic) != nil {
		return false
	}
	if !s.conf.WorkerFromTopic {
		// The publisher is there, and what was missed is asked for at once: its next
		// message may be long in coming.
		if s.sync(ctx, c, s.stream(ctx, c, "")) != nil {
			return false
		}
	}
	for {
		m, err := zc.Read()
		if err != nil {
			return heard
		}
		heard = true
		if s.take(ctx, c, m) != nil {
			return heard
		}
	}
}

// flush writes what was held back. A stream stays dirty until that succeeds.
func (c *connection) flush(ctx context.Context) error {
	for _, st := range c.dirty {
		if err := st.flush(ctx); err != nil {
			return err
		}
	}
	c.dirty = c.dirty[:0]
	return nil
}

// take takes one message. An error ends the connection.
func (s *source) take(ctx context.Context, c *connection, m zmtp.Message) error {
	if len(m) != 3 || len(m[1]) != 8 {
		s.count.decodeErrors.Add(1)
		return nil // which sequence number it had will be seen by the next
	}
	topic := ""
	if s.conf.WorkerFromTopic {
		topic = string(m[0])
	}
	for {
		st := s.stream(ctx, c, topic)
		if st == nil {
			s.count.unknownTopics.Add(1)
			return ctx.Err()
		}
		if err := s.sync(ctx, c, st); err != nil {
			return err
		}
		if len(c.dirty) == 0 || c.dirty[len(c.dirty)-1] != st {
			c.dirty = append(c.dirty, st)
		}
		if err := st.take(ctx, bigEndian(m[1]), m[2]); !errors.Is(err, errForgotten) {
			return err
		}
	}
}

// sync compares a stream with the engine's replay, if there is one, once in a
// connection: while there was none the engine may have published, or begun anew.
func (s *source) sync(ctx context.Context, c *connection, st *stream) error {
	if c.synced[st] {
		return nil
	}
	c.synced[st] = true
	c.dirty = append(c.dirty, st)
	return st.sync(ctx)
}

// sleep waits for about d and returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// retry tries a write to the index until it succeeds, ctx ends, or trying again
// cannot help. Meanwhile nothing is read from the socket.
func (s *source) retry(ctx context.Context, write func() error) error {
	for backoff := s.o.BackoffMin; ; backoff = min(2*backoff, s.o.BackoffMax) {
		err := write()
		if errors.Is(err, kvferry.ErrClosed) {
			s.ended.Store(true)
			return err
		}
		if err == nil || errors.Is(err, errBatch) {
			return err
		}
		if errors.Is(err, kvferry.ErrInvalid) {
			return errors.Join(err, errBatch)
		}
		if ctx.Err() == nil {
			s.count.indexErrors.Add(1)
		}
		if !sleep(ctx, backoff) {
			return ctx.Err()
		}
	}
}
