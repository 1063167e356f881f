package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// maxStreams is how many workers a source that names them by topics may have.
const maxStreams = 1024

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
	conns   int
	since   time.Time     // of the last connection's end
	changed chan struct{} // conns changed; holds one
}

func newSource(x index.Index, conf Source, o *Options, c *counters) *source {
	return &source{
		x: x, conf: conf, o: o, count: c, streams: map[string]*stream{}, since: o.Now(), changed: make(chan struct{}, 1),
	}
}

// connection is what a source knows of one connection.
type connection struct {
	*zmtp.Conn
	synced map[*stream]bool // were compared with the replay since the connection began
	dirty  []*stream        // have records that are held back
}

// serve takes messages from a connection until it ends, and reports whether there
// was one.
func (s *source) serve(ctx context.Context, zc *zmtp.Conn) (heard bool) {
	stop := context.AfterFunc(ctx, func() { _ = zc.Close() })
	defer stop()
	defer func() { _ = zc.Close() }()
	s.present(1)
	defer s.present(-1)
	c := &connection{Conn: zc, synced: map[*stream]bool{}}
	flush := func() error { return c.flush(ctx) }
	zc.SetBeforeWait(flush)
	defer func() { _ = flush() }() // fails only if ctx ended, or is tried again with the next message
	if zc.Subscribe(s.conf.Topic) != nil {
		return false
	}
	if !s.conf.WorkerFromTopic && s.conf.Replay != "" {
		// What was missed is asked for at once: the next message may be long in coming.
		if s.sync(ctx, c, s.stream("")) != nil {
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
	st := s.stream(topic)
	if st == nil {
		s.count.unknownTopics.Add(1)
		return nil
	}
	if err := s.sync(ctx, c, st); err != nil {
		return err
	}
	if len(c.dirty) == 0 || c.dirty[len(c.dirty)-1] != st {
		c.dirty = append(c.dirty, st)
	}
	return st.take(ctx, bigEndian(m[1]), m[2])
}

// sync compares a stream with the engine's replay, once in a connection: while
// there was none the engine may have published, or begun anew.
func (s *source) sync(ctx context.Context, c *connection, st *stream) error {
	if s.conf.Replay == "" || c.synced[st] {
		return nil
	}
	c.synced[st] = true
	c.dirty = append(c.dirty, st)
	return st.sync(ctx)
}

// stream returns the stream of a topic; nil for one that names no worker, or if
// there are too many.
func (s *source) stream(topic string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[topic]; st != nil {
		return st
	}
	engine := s.conf.Engine
	if s.conf.WorkerFromTopic {
		parts := strings.SplitN(topic, "@", 3)
		if len(parts) != 3 || parts[0] != "kv" || parts[1] == "" || len(s.streams) >= maxStreams {
			return nil
		}
		engine.Name, engine.Model = parts[1], parts[2]
	}
	st := newStream(s, topic, engine)
	s.streams[topic] = st
	return st
}

func (s *source) present(change int) {
	if change > 0 {
		s.count.connects.Add(1)
	} else {
		s.count.disconnects.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns += change
	s.since = s.o.Now()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// watchAway clears the workers of a source that is away for too long.
func (s *source) watchAway(ctx context.Context) {
	for {
		s.mu.Lock()
		away, rest := s.conns == 0, s.o.Away-s.o.Now().Sub(s.since)
		s.mu.Unlock()
		var timer <-chan time.Time
		if away && rest <= 0 {
			s.clearAll(ctx)
		} else if away {
			timer = time.After(rest)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-timer:
		}
	}
}

func (s *source) clearAll(ctx context.Context) {
	s.mu.Lock()
	streams := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		streams = append(streams, st)
	}
	s.mu.Unlock()
	for _, st := range streams {
		st.leave(ctx)
	}
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
