package main

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// publisher is the PUB socket of a serving engine, in ZMTP 3.0 as ZeroMQ has
// spoken it since its version 4.0. It is written from the protocol's description
// and shares nothing with the subscriber.
type publisher struct {
	*testing.T

	l    net.Listener
	work sync.WaitGroup

	mu      sync.Mutex
	subs    []net.Conn
	arrived chan struct{} // one for each subscriber
	seq     uint64
}

// publish listens on an address.
func publish(t *testing.T, address string) *publisher {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	p := &publisher{T: t, l: l, arrived: make(chan struct{}, 16)}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(p.stop)
	return p
}

// connect connects to a subscriber that listens.
func connect(t *testing.T, address string) *publisher {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	p := &publisher{T: t, arrived: make(chan struct{}, 16)}
	p.work.Go(func() { p.serve(c) })
	t.Cleanup(p.stop)
	return p
}

// stop ends as a process does.
func (p *publisher) stop() {
	if p.l != nil {
		_ = p.l.Close() // the second time it is closed already
	}
	p.mu.Lock()
	for _, c := range p.subs {
		_ = c.Close() // the other side may have
	}
	p.subs = nil
	p.mu.Unlock()
	p.work.Wait()
}

// serve greets a subscriber, waits for its subscription and reads what comes then.
func (p *publisher) serve(c net.Conn) {
	hello := make([]byte, 64, 128)
	copy(hello, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL")
	hello = append(hello, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"...)
	if _, err := c.Write(hello); err != nil {
		_ = c.Close()
		return
	}
	head := make([]byte, 66) // its greeting, and flags and length of its READY
	if _, err := io.ReadFull(c, head); err == nil {
		_, err = io.ReadFull(c, make([]byte, head[65]))
		if err == nil { // its subscription
			_, err = io.ReadFull(c, head[:2])
		}
		if err == nil {
			_, _ = io.ReadFull(c, make([]byte, head[1])) // what fails is seen below
		}
	}
	p.mu.Lock()
	p.subs = append(p.subs, c)
	p.mu.Unlock()
	p.arrived <- struct{}{}
	_, _ = io.Copy(io.Discard, c) // until it ends
}

// send publishes a batch of events to who is there.
func (p *publisher) send(batch ...any) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var m []byte
	frames := [][]byte{[]byte("kv"), binary.BigEndian.AppendUint64(nil, p.seq), msgpack(nil, batch)}
	p.seq++
	for i, f := range frames {
		flags := byte(2) // a length of eight bytes
		if i < len(frames)-1 {
			flags |= 1 // more
		}
		m = append(binary.BigEndian.AppendUint64(append(m, flags), uint64(len(f))), f...)
	}
	require.NotEmpty(p, p.subs)
	for _, c := range p.subs {
		_, err := c.Write(m)
		require.NoError(p, err)
	}
}

// member is one of a map's, in order.
type member struct {
	key   string
	value any
}

// msgpack appends a value as msgpack.
func msgpack(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case uint64:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	case int:
		return msgpack(b, uint64(v))
	case string:
		return append(append(b, 0xd9, byte(len(v))), v...)
	case []byte:
		return append(append(b, 0xc4, byte(len(v))), v...)
	case []any:
		b = binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(len(v)))
		for _, x := range v {
			b = msgpack(b, x)
		}
		return b
	case []member:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(len(v)))
		for _, x := range v {
			b = msgpack(msgpack(b, x.key), x.value)
		}
		return b
	}
	panic("a type that no event has")
}
