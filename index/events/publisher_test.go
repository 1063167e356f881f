package events_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

var testLimits = zmtp.Limits{MessageBytes: 256 << 20, Handshake: 10 * time.Second, Heartbeat: time.Minute, Silence: time.Minute}

// publisher is an engine's side: a PUB socket and a ROUTER for replays. What it
// publishes is kept for replays from the number oldest on.
type publisher struct {
	t     testing.TB
	topic string
	pub   net.Listener
	rout  net.Listener
	more  []net.Listener // all of them
	work  sync.WaitGroup

	mu     sync.Mutex
	subs   []*zmtp.Conn
	all    map[bool][]net.Conn // of subscribers (true) and replays
	arrive chan struct{}       // one for each subscriber that arrived
	log    [][]byte
	oldest int
	bare   bool // replays without topics, as older engines'
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	p := &publisher{t: t, topic: "kv", arrive: make(chan struct{}, 1024), all: map[bool][]net.Conn{}}
	p.pub = p.listen(true, p.subscriber)
	p.rout = p.listen(false, p.replays)
	t.Cleanup(p.stop)
	return p
}

func (p *publisher) listen(subs bool, serve func(net.Conn)) net.Listener {
	return p.listenAt("127.0.0.1:0", subs, serve)
}

func (p *publisher) listenAt(address string, subs bool, serve func(net.Conn)) net.Listener {
	var lc net.ListenConfig
	l, err := lc.Listen(p.t.Context(), "tcp", address)
	require.NoError(p.t, err)
	p.more = append(p.more, l)
	p.work.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.all[subs] = append(p.all[subs], nc)
			p.mu.Unlock()
			p.work.Go(func() { serve(nc) })
		}
	})
	return l
}

func (p *publisher) endpoint() string { return "tcp://" + p.pub.Addr().String() }
func (p *publisher) replay() string   { return "tcp://" + p.rout.Addr().String() }

func (p *publisher) subscriber(nc net.Conn) {
	c, err := zmtp.Handshake(nc, "PUB", testLimits)
	if err != nil {
		return
	}
	if _, err := c.Subscription(); err != nil {
		return
	}
	p.mu.Lock()
	p.subs = append(p.subs, c)
	p.mu.Unlock()
	p.arrive <- struct{}{}
}

func (p *publisher) replays(nc net.Conn) {
	c, err := zmtp.Handshake(nc, "ROUTER", testLimits)
	if err != nil {
		return
	}
	m, err := c.Read()
	if err != nil || len(m) != 2 {
		return
	}
	p.mu.Lock()
	log, oldest, bare := p.log, p.oldest, p.bare
	p.mu.Unlock()
	answer := func(topic string, seq uint64, payload []byte) error {
		frames := [][]byte{nil, []byte(topic), binary.BigEndian.AppendUint64(nil, seq), payload}
		if bare {
			frames = append(frames[:1], frames[2:]...)
		}
		return c.Write(frames...)
	}
	for i := max(int(binary.BigEndian.Uint64(m[1])), oldest); i < len(log); i++ {
		if answer(p.topic, uint64(i), log[i]) != nil {
			return
		}
	}
	_ = answer("", 1<<64-1, nil) // whoever asked may be gone
}

// awaitSubscriber waits for one more subscriber.
func (p *publisher) awaitSubscriber() {
	p.t.Helper()
	select {
	case <-p.arrive:
	case <-time.After(20 * time.Second):
		require.FailNow(p.t, "no subscriber came")
	}
}

// keep notes a batch as published without sending it.
func (p *publisher) keep(payload []byte) (seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, payload)
	return uint64(len(p.log) - 1)
}

func (p *publisher) publish(payload []byte) { p.send(p.keep(payload), payload) }

// send sends a batch to all subscribers.
func (p *publisher) send(seq uint64, payload []byte) {
	p.raw(zmtp.AppendMessage(nil, []byte(p.topic), binary.BigEndian.AppendUint64(nil, seq), payload))
}

func (p *publisher) raw(b []byte) {
	p.mu.Lock()
	subs := p.subs
	p.mu.Unlock()
	for _, c := range subs {
		_ = c.WriteRaw(b) // a subscriber that left gets nothing
	}
}

// hangUp ends all connections of subscribers.
func (p *publisher) hangUp() { p.end(true) }

func (p *publisher) end(subs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, nc := range p.all[subs] {
		_ = nc.Close() // some are closed already
	}
	p.all[subs] = nil
	if subs {
		p.subs = nil
	}
}

// forget makes the process another one: its sequence begins anew.
func (p *publisher) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log, p.oldest = nil, 0
}

func (p *publisher) stop() {
	for _, l := range p.more {
		_ = l.Close() // may be closed already
	}
	p.end(true)
	p.end(false)
	p.work.Wait()
}
