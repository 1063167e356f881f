package events_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
	"github.com/kvferry/kvferry/index/events/msg"
)

// gated is an index whose writes wait until the gate opens, and may fail then.
type gated struct {
	index.Index
	gate  chan struct{}
	fails atomic.Int64 // so many writes fail
}

func (g *gated) Put(ctx context.Context, rs []index.Record) error {
	select {
	case <-g.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.fails.Add(-1) >= 0 {
		return fmt.Errorf("test: server away: %w", kvferry.ErrNoSpace)
	}
	return g.Index.Put(ctx, rs)
}

// A flood meets an index that stands still: what is not taken stays in the
// publisher's socket, and we hold no more than a few buffers.
func TestSubscriberFloodIsHeldBack(t *testing.T) {
	p := newPublisher(t)
	x := &gated{Index: openMemory(t), gate: make(chan struct{})}
	x.fails.Store(3)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	batches := 30000
	if soak() {
		batches = 300000
	}
	var before, held runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var sender sync.WaitGroup
	var sent atomic.Int64
	sender.Go(func() {
		var wire []byte
		for i := range uint64(batches) {
			wire = zmtp.AppendMessage(wire[:0], []byte("kv"), binary.BigEndian.AppendUint64(nil, i), flood(i))
			p.raw(wire)
			sent.Add(1)
		}
	})
	// The sender stands when both sockets and our buffer are full.
	last := int64(-1)
	until(t, func() bool {
		now := sent.Load()
		stands := now == last && now > 0
		last = now
		if !stands {
			runtime.Gosched()
		}
		return stands
	})
	runtime.GC()
	runtime.ReadMemStats(&held)
	require.Less(t, sent.Load(), int64(batches), "the sockets hold all: nothing was held back")
	require.Less(t, int64(held.HeapAlloc)-int64(before.HeapAlloc), int64(48<<20))
	close(x.gate)
	sender.Wait()
	until(t, func() bool {
		m, err := x.Metrics(t.Context())
		return err == nil && s.Stats().Batches == uint64(batches) && m.ResidentBlocks == uint64(batches)
	})
	require.NotZero(t, s.Stats().IndexErrors)
	require.Zero(t, s.Stats().Gaps+s.Stats().WorkersCleared)
}

// soak asks for the long form of a test.
func soak() bool { return os.Getenv("KVFERRY_SOAK") != "" && os.Getenv("KVFERRY_SOAK") != "0" }

// flood is a batch with one block, made by hand: many are needed.
func flood(i uint64) []byte {
	b := []byte("\x93\xcb\x41\xda\xc0\x26\x74\xc9\xd2\x73\x91\x97\xabBlockStored\x91\xcf")
	b = binary.BigEndian.AppendUint64(b, i+1<<40)
	b = append(b, "\xc0\xdc\x04\x00"...)
	b = append(b, make([]byte, 1024)...) // token ids
	return append(b, "\xcd\x04\x00\xc0\xa3GPU\xc0"...)
}

// A million blocks in one batch, and a million events in one; fewer if it
// need not be long.
func TestSubscriberMillion(t *testing.T) {
	p := newPublisher(t)
	x := openMemory(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	blocks := uint32(20000)
	if soak() {
		blocks = 1000000
	}
	hashes := func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(append(b, 0xdd), blocks)
		for i := range uint64(blocks) {
			b = binary.BigEndian.AppendUint64(append(b, 0xcf), i*0x9e3779b97f4a7c15)
		}
		return b
	}
	one := hashes([]byte("\x92\xc0\x91\x97\xabBlockStored"))
	one = append(one, "\xc0\x91\x01\x10\xc0\xa3GPU"...)
	p.publish(one)
	until(t, func() bool {
		m, err := x.Metrics(t.Context())
		return err == nil && m.ResidentBlocks == uint64(blocks)
	})
	m, err := x.Match(t.Context(), &index.Query{
		Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}, Hashes: []string{"0", strconv.FormatUint(0x9e3779b97f4a7c15, 10)},
	}, nil)
	require.NoError(t, err)
	require.Len(t, m, 1)
	require.Equal(t, 2, m[0].Blocks)
	many := binary.BigEndian.AppendUint32([]byte("\x92\xc0\xdd"), blocks)
	for i := range uint64(blocks) {
		many = append(many, "\x92\xacBlockRemoved\x91\xcf"...)
		many = binary.BigEndian.AppendUint64(many, i*0x9e3779b97f4a7c15)
	}
	p.publish(many)
	until(t, func() bool {
		m, err := x.Metrics(t.Context())
		return err == nil && m.ResidentBlocks == 0
	})
	require.Zero(t, s.Stats().DecodeErrors)
}

// A publisher that does all that it should not: it changes its format, sends
// batches twice, leaves some out, sends garbage, hangs up, and begins anew. In
// the end the index is what an Ingester makes of what was published since.
func TestSubscriberChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, rand.New(rand.NewPCG(seed, 3)))
		})
	}
}

func chaos(t *testing.T, r *rand.Rand) {
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
	p.awaitSubscriber()
	ref := model(t)
	in := events.NewIngester(ref, engineA)
	held, ts := map[string]bool{}, 0.0
	for range 300 {
		ts++
		var es list
		for range 1 + r.IntN(4) {
			e := randomEvent(r, held)
			es = append(es, e)
		}
		batch := pack(t, list{ts, es, 0})
		if r.IntN(2) == 0 {
			batch = positional(t, batch)
		}
		switch r.IntN(20) {
		case 0, 1:
			p.keep(batch) // lost
		case 2:
			p.publish(batch)
			p.send(uint64(len(p.log)-1), batch)
		case 3:
			p.send(p.keep(batch), batch[:len(batch)/2]) // damaged on its way
		case 4:
			p.publish(batch)
			p.hangUp()
			p.awaitSubscriber()
		case 5:
			p.forget()
			require.NoError(t, in.Clear(t.Context()))
			clear(held)
			p.publish(batch)
			p.hangUp()
			p.awaitSubscriber()
		case 6:
			p.raw([]byte("\x01\x02kv\x00\x03odd"))
			p.publish(batch)
		default:
			p.publish(batch)
		}
		ingest(t, in, batch)
	}
	// The last of all comes through, so that nothing is missing at the end. It may
	// have to be sent again, since a connection may just be ending.
	ts++
	final := pack(t, list{ts, list{store(list{999}, nil, nil)}, 0})
	seq := p.keep(final)
	ingest(t, in, final)
	want := records(t, ref)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v\nwant %v\ngot  %v", s.Stats(), briefs(t, ref), briefs(t, x))
		}
	})
	until(t, func() bool {
		p.send(seq, final)
		m, err := x.Metrics(t.Context())
		return err == nil && m.ResidentBlocks == uint64(len(want)) && fmt.Sprint(records(t, x)) == fmt.Sprint(want)
	})
	t.Logf("%+v", s.Stats())
}

// positional rewrites a batch of maps into the form of vLLM 0.26.
func positional(t testing.TB, payload []byte) []byte {
	names := map[string][]string{
		"BlockStored":  {"block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name", "extra_keys", "group_idx"},
		"BlockRemoved": {"block_hashes", "medium", "group_idx"},
	}
	var v []any
	unpack(t, payload, &v)
	es, ok := v[1].([]any)
	require.True(t, ok)
	for i := range es {
		m, ok := es[i].(map[string]any)
		require.True(t, ok)
		row := list{m["type"]}
		for _, name := range names[fmt.Sprint(m["type"])] {
			row = append(row, m[name])
		}
		es[i] = row
	}
	return pack(t, v)
}

func TestSubscriberTopicsNameWorkers(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: events.Engine{Tenant: "x"}, Endpoint: p.endpoint(), WorkerFromTopic: true}}})
	p.awaitSubscriber()
	for _, topic := range []string{"kv@pod-1@m@1", "kv@pod-2@m", "kv@@m", "other", "kv@pod-3"} {
		p.raw(zmtp.AppendMessage(nil, []byte(topic), make([]byte, 8), stored(t, 1, nil, 1)))
	}
	until(t, func() bool { return s.Stats().UnknownTopics == 3 })
	until(t, func() bool { return len(records(t, x)) == 2 })
	rs := records(t, x)
	require.Equal(t, []string{"m", "pod-2", "m@1", "pod-1"}, []string{rs[0].Model, rs[0].Worker, rs[1].Model, rs[1].Worker})
}

// Engines that connect to us, two sources, one with two ranks.
func TestSubscriberBinds(t *testing.T) {
	t.Parallel()
	x := model(t)
	other := engineA
	other.Name = "b"
	s := subscribe(t, x, events.Options{Sources: []events.Source{
		{Engine: engineA, Endpoint: "tcp://127.0.0.1:0", Bind: true}, {Engine: other, Endpoint: "tcp://127.0.0.1:0", Bind: true},
	}})
	for i := range 2 {
		c, err := zmtp.Dial(t.Context(), "tcp://"+s.Addr(i).String(), "PUB", testLimits)
		require.NoError(t, err)
		_, err = c.Subscription()
		require.NoError(t, err)
		for rank := range i + 1 {
			payload := pack(t, list{1.0, list{store(list{i + 1}, nil, nil)}, rank})
			require.NoError(t, c.Write([]byte("kv"), binary.BigEndian.AppendUint64(nil, uint64(rank)), payload))
		}
		until(t, func() bool { return len(records(t, x)) == 1+2*i })
		require.NoError(t, c.Close())
	}
	require.Equal(t, []string{"a hbm 1<root #0 g0 t2 none", "b hbm 2<root #0 g0 t2 none", "b/dp1 hbm 2<root #0 g0 t2 none"}, briefs(t, x))
}

func TestSubscriberAway(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Away: time.Millisecond, BackoffMax: time.Millisecond, Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	p.publish(stored(t, 1, nil, 1))
	until(t, func() bool { return len(records(t, x)) == 1 })
	p.stop()
	until(t, func() bool { return len(records(t, x)) == 0 })
	require.NotZero(t, s.Stats().WorkersCleared)
}

// A replay socket that is away when it is needed: the worker is cleared, and has
// all again when the socket is there.
func TestSubscriberReplayComesBack(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	proxy := freePort(t)
	s := subscribe(t, x, events.Options{
		ReplayTimeout: 200 * time.Millisecond, Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: proxy}},
	})
	p.awaitSubscriber()
	batches := [][]byte{stored(t, 1, nil, 1, 2), stored(t, 2, 2, 3), stored(t, 3, 3, 4)}
	p.publish(batches[0])
	p.keep(batches[1])
	p.publish(batches[2])
	settled(t, s, x, 2, ingested(t, batches[2]))
	require.NotZero(t, s.Stats().WorkersCleared)
	p.listenAt(strings.TrimPrefix(proxy, "tcp://"), false, p.replays)
	until(t, func() bool {
		p.publish(stored(t, 4, nil, 9))
		return len(records(t, x)) == 5
	})
	require.Equal(t, ingested(t, append(batches, stored(t, 4, nil, 9))...), records(t, x))
}

// With a closed index a subscriber does nothing, and can be closed.
func TestSubscriberOfClosedIndex(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	require.NoError(t, x.Close())
	p.publish(stored(t, 1, nil, 1))
	until(t, func() bool { return s.Stats().Disconnects == 1 })
	require.NoError(t, s.Close())
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []events.Options{
		{MessageBytes: -1},
		{Sources: []events.Source{{Endpoint: "x"}}},
		{Sources: []events.Source{{Endpoint: "tcp://h:1", Replay: "x"}}},
		{Sources: []events.Source{{Endpoint: "tcp://h:1"}, {Endpoint: "tcp://h:2"}}},
	} {
		_, err := events.Subscribe(model(t), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	_, err := events.Subscribe(model(t), events.Options{Sources: []events.Source{{Endpoint: "tcp://192.0.2.1:1", Bind: true}}})
	require.Error(t, err)
}

// Close ends a subscriber that waits for an index.
func TestSubscriberClosesWhileTheIndexStands(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := &gated{Index: model(t), gate: make(chan struct{})}
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	p.publish(stored(t, 1, nil, 1))
	until(t, func() bool { return s.Stats().Batches == 1 })
	require.NoError(t, s.Close())
}

// What is in a batch is the same whatever was decoded before into the same Batch.
func TestBatchIsReused(t *testing.T) {
	t.Parallel()
	var b msg.Batch
	for _, name := range recordings {
		for _, payload := range recorded(t, name) {
			var fresh msg.Batch
			require.NoError(t, b.Decode(payload))
			require.NoError(t, fresh.Decode(payload))
			require.Equal(t, fresh, b)
		}
	}
}
