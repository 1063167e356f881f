package events

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kvferry/kvferry/index"
)

// errForgotten is what a stream that was forgotten says: there may be another.
var errForgotten = errors.New("events: the stream was forgotten")

// presence is what a source knows of a stream without its lock.
type presence struct {
	conns int       // that are there, and through which it was heard or which are of its engine alone
	since time.Time // when it was heard last, or the last of them ended
	left  bool      // its workers were let go since
}

// stream returns the stream of a topic, which was heard through a connection; nil
// for one that names no worker, or if there are too many.
func (s *source) stream(ctx context.Context, c *connection, topic string) *stream {
	for {
		st, victim := s.find(c, topic)
		if victim == nil || !s.forget(ctx, victim, func() bool { return true }) {
			return st
		}
	}
}

// find returns the stream of a topic, or nil and one that has to go for it.
func (s *source) find(c *connection, topic string) (st, victim *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st = s.streams[topic]
	if st == nil {
		engine := s.conf.Engine
		if s.conf.WorkerFromTopic {
			parts := strings.SplitN(topic, "@", 3)
			if len(parts) != 3 || parts[0] != "kv" || parts[1] == "" || CheckName(parts[1]) != nil {
				return nil, nil
			}
			if len(s.streams) >= maxStreams {
				return nil, s.longestSilent()
			}
			engine.Name, engine.Model = parts[1], parts[2]
		}
		st = newStream(s, topic, engine)
		s.streams[topic] = st
		s.wake()
	}
	if !c.heard[st] {
		c.hear(st)
	}
	st.here.since, st.here.left = s.o.Now(), false
	return st, nil
}

// hear notes that a stream came through a connection, and lets go of those that
// were forgotten, so that there are not ever more of them.
func (c *connection) hear(st *stream) {
	if len(c.heard) > 2*maxStreams {
		for old := range c.heard {
			if old.forgotten.Load() {
				delete(c.heard, old)
				delete(c.synced, old)
			}
		}
	}
	c.heard[st] = true
	st.here.conns++
}

// longestSilent returns the stream that goes when there are too many; nil if none
// may.
func (s *source) longestSilent() *stream {
	var v *stream
	for _, st := range s.streams {
		if v == nil || (st.here.conns == 0) == (v.here.conns == 0) && st.here.since.Before(v.here.since) ||
			st.here.conns == 0 && v.here.conns > 0 {
			v = st
		}
	}
	if v != nil && v.here.conns > 0 && s.o.Now().Sub(v.here.since) < silentFor {
		return nil
	}
	return v
}

// hungUp is the end of a connection.
func (s *source) hungUp(c *connection) {
	s.count.disconnects.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range c.heard {
		st.here.conns--
		st.here.since = s.o.Now()
	}
	s.wake()
}

// wake lets watchAway look at the streams.
func (s *source) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// patience returns for how long a stream may not be heard of; false: for ever. Once
// its workers were let go, that is until nobody keeps them alive, if they can be
// many: another may come in its place.
func (s *source) patience(st *stream) (time.Duration, bool) {
	d, some := time.Duration(0), false
	if st.here.conns == 0 && s.o.Away > 0 {
		d, some = s.o.Away, true
	}
	if s.conf.WorkerFromTopic && s.o.Silent > 0 && (!some || s.o.Silent < d) {
		d, some = s.o.Silent, true
	}
	if st.here.left {
		return d + s.o.Lease, some && s.conf.WorkerFromTopic
	}
	return d, some
}

// watchAway clears and forgets the workers of streams that are away for too long.
func (s *source) watchAway(ctx context.Context) {
	for {
		var timer <-chan time.Time
		if rest, more := s.forgetAway(ctx); more {
			timer = time.After(max(rest, time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-timer:
		}
	}
}

// forgetAway forgets those that are away, and returns after how long the next will
// be, if one may.
func (s *source) forgetAway(ctx context.Context) (rest time.Duration, more bool) {
	away := func(st *stream) (time.Duration, bool) {
		d, some := s.patience(st)
		return d - s.o.Now().Sub(st.here.since), some
	}
	s.mu.Lock()
	var gone []*stream
	for _, st := range s.streams {
		switch left, ok := away(st); {
		case ok && left <= 0:
			gone = append(gone, st)
		case ok && (!more || left < rest):
			rest, more = left, true
		}
	}
	s.mu.Unlock()
	for _, st := range gone {
		still := func() bool { left, ok := away(st); return ok && left <= 0 }
		if !s.shares() {
			s.forget(ctx, st, still)
		} else if s.letGo(st, still) {
			more = true // rest may be shorter than what is left of it: then it is looked at again
		}
	}
	return rest, more
}

// shares reports whether others may feed the index with the same workers.
func (s *source) shares() bool {
	_, ok := s.x.(index.Joiner)
	return ok
}

// letGo gives up the leases of a stream's workers, if that is still wanted, and
// forgets the stream when they were given up before. What it has in the index ends
// with its leases, or goes on where others follow it. It reports whether the
// stream is still there.
func (s *source) letGo(st *stream, still func() bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !still() {
		return true
	}
	if !st.here.left {
		st.in.leave()
		st.left, st.here.left = true, true
		return true
	}
	st.begun = false
	st.forgotten.Store(true)
	delete(s.streams, st.topic)
	return false
}

// forget clears the worker of a stream, if that is still wanted, and forgets the
// stream. Whatever its publisher sends when it comes back begins anew.
func (s *source) forget(ctx context.Context, st *stream, still func() bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	s.mu.Lock()
	ok := still()
	s.mu.Unlock()
	if !ok || st.begun && st.clear(ctx) != nil {
		return false
	}
	st.in.leave()
	st.begun = false
	st.forgotten.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.topic] == st {
		delete(s.streams, st.topic)
	}
	return true
}
