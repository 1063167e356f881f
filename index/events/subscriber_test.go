package events_test

import (
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/indextest"
)

func model(t testing.TB) *indextest.Model {
	x := indextest.NewModel(index.Options{})
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}

func records(t testing.TB, x index.Reader) []index.Record {
	var out []index.Record
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		out = append(out, *r)
		return nil
	})
	require.NoError(t, err)
	return out
}

var engineA = events.Engine{Name: "a", Model: "m", Tokenizer: "t", Tenant: "x", BytesPerBlock: 100}

func subscribe(t testing.TB, x index.Index, o events.Options) *events.Subscriber {
	t.Helper()
	o.BackoffMin = time.Millisecond
	s, err := events.Subscribe(x, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func until(t testing.TB, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 100*time.Second, time.Millisecond)
}

// settled waits until a subscriber has taken n batches and the index has them.
func settled(t testing.TB, s *events.Subscriber, x index.Index, n uint64, want []index.Record) {
	t.Helper()
	until(t, func() bool { return s.Stats().Batches >= n })
	// What is held back comes a little later, and as many records may be others.
	var have []index.Record
	defer func() {
		if t.Failed() {
			t.Logf("the index has %v, not %v", have, want)
		}
	}()
	until(t, func() bool {
		have = records(t, x)
		return assert.ObjectsAreEqual(want, have)
	})
}

// ingested is the index that batches make, without a socket.
func ingested(t testing.TB, payloads ...[]byte) []index.Record {
	t.Helper()
	x := model(t)
	ingest(t, events.NewIngester(x, engineA), payloads...)
	return records(t, x)
}

func pack(t testing.TB, v any) []byte {
	t.Helper()
	out, err := msgpack.Marshal(v)
	require.NoError(t, err)
	return out
}

func unpack(t testing.TB, b []byte, v any) {
	t.Helper()
	require.NoError(t, msgpack.Unmarshal(b, v))
}

type (
	list = []any
	dict = map[string]any
)

// recorded are the batches that a real engine published.
func recorded(t testing.TB, name string) (payloads [][]byte) {
	for _, line := range lines(t, name) {
		var v struct {
			Hex string `json:"hex"`
		}
		require.NoError(t, json.Unmarshal(line, &v))
		p, err := hex.DecodeString(v.Hex)
		require.NoError(t, err)
		payloads = append(payloads, p)
	}
	return payloads
}

var recordings = []string{"kvevents-int.jsonl.gz", "kvevents-bytes.jsonl.gz", "kvevents-selfdescribing.jsonl.gz"}

func TestSubscriberReplaysRecording(t *testing.T) {
	t.Parallel()
	for _, name := range recordings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t)
			x := model(t)
			s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
			p.awaitSubscriber()
			batches := recorded(t, name)
			for _, b := range batches {
				p.publish(b)
			}
			want := ingested(t, batches...)
			require.NotEmpty(t, want)
			settled(t, s, x, uint64(len(batches)), want)
			st := s.Stats()
			require.Zero(t, st.Gaps+st.Resets+st.Duplicates+st.DecodeErrors+st.UnknownEvents+st.UnknownMediums+st.WorkersCleared)
		})
	}
}

// stored is a batch that stores blocks, in the form of vLLM 0.33.
func stored(t testing.TB, ts float64, parent any, hashes ...uint64) []byte {
	hs, tokens := list{}, list{}
	for _, h := range hashes {
		hs = append(hs, h)
		tokens = append(tokens, 1, 2)
	}
	return pack(t, list{ts, list{dict{
		"type": "BlockStored", "block_hashes": hs, "parent_block_hash": parent, "token_ids": tokens, "block_size": 2, "lora_id": nil, "medium": "GPU", "lora_name": nil,
	}}, 0})
}

// removed is a batch that removes blocks, in the form of vLLM 0.26.
func removed(t testing.TB, ts float64, hashes ...uint64) []byte {
	hs := list{}
	for _, h := range hashes {
		hs = append(hs, h)
	}
	return pack(t, list{ts, list{list{"BlockRemoved", hs, "GPU", nil}}, 0})
}

func TestSubscriberGapIsReplayed(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{false, true} {
		p := newPublisher(t)
		p.bare = bare
		x := model(t)
		s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
		p.awaitSubscriber()
		until(t, func() bool { return s.Stats().Replays == 1 }) // of what was before us
		batches := [][]byte{stored(t, 1, nil, 1, 2), stored(t, 2, 2, 3), removed(t, 3, 2), stored(t, 4, 3, 4), stored(t, 5, 4, 5)}
		p.publish(batches[0])
		p.keep(batches[1])
		p.keep(batches[2])
		p.publish(batches[3])
		p.publish(batches[4])
		settled(t, s, x, 5, ingested(t, batches...))
		st := s.Stats()
		require.Equal(t, uint64(1), st.Gaps)
		require.Zero(t, st.WorkersCleared+st.ReplayErrors+st.Resets)
	}
}

func TestSubscriberGapWithoutReplayClears(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	p.publish(stored(t, 1, nil, 1, 2))
	p.keep(removed(t, 2, 1))
	p.publish(stored(t, 3, nil, 7))
	settled(t, s, x, 2, ingested(t, stored(t, 3, nil, 7)))
	require.Equal(t, uint64(1), s.Stats().Gaps)
	require.Equal(t, uint64(1), s.Stats().WorkersCleared)
}

func TestSubscriberGapTooOldClears(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
	p.awaitSubscriber()
	until(t, func() bool { return s.Stats().Replays == 1 })
	p.publish(stored(t, 1, nil, 1, 2))
	until(t, func() bool { return s.Stats().Batches == 1 })
	p.keep(removed(t, 2, 1))
	p.keep(stored(t, 3, nil, 8))
	p.mu.Lock()
	p.oldest = 2
	p.mu.Unlock()
	p.publish(stored(t, 4, nil, 7))
	settled(t, s, x, 3, ingested(t, stored(t, 3, nil, 8), stored(t, 4, nil, 7)))
	require.Equal(t, uint64(1), s.Stats().WorkersCleared)
}

// A subscriber that comes late gets what there was, if the engine has it still.
func TestSubscriberComesLate(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	batches := [][]byte{stored(t, 1, nil, 1, 2), removed(t, 2, 2), stored(t, 3, 1, 3)}
	for _, b := range batches {
		p.keep(b)
	}
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
	settled(t, s, x, 3, ingested(t, batches...))
}

func TestSubscriberEngineRestarts(t *testing.T) {
	t.Parallel()
	for _, withReplay := range []bool{false, true} {
		p := newPublisher(t)
		x := model(t)
		src := events.Source{Engine: engineA, Endpoint: p.endpoint()}
		if withReplay {
			src.Replay = p.replay()
		}
		s := subscribe(t, x, events.Options{Sources: []events.Source{src}})
		p.awaitSubscriber()
		p.publish(stored(t, 1, nil, 1, 2))
		p.publish(stored(t, 2, 2, 3))
		settled(t, s, x, 2, ingested(t, stored(t, 1, nil, 1, 2), stored(t, 2, 2, 3)))
		p.forget()
		if withReplay {
			// What it did before we are there again must be found by asking; that it has
			// gone beyond the old sequence must not hide that it is another.
			for i := range uint64(4) {
				p.keep(stored(t, 10+float64(i), nil, 10+i))
			}
		}
		p.hangUp()
		p.awaitSubscriber()
		want := ingested(t, stored(t, 20, nil, 20))
		if withReplay {
			want = ingested(t, stored(t, 10, nil, 10), stored(t, 11, nil, 11), stored(t, 12, nil, 12), stored(t, 13, nil, 13), stored(t, 20, nil, 20))
		}
		p.publish(stored(t, 20, nil, 20))
		settled(t, s, x, 3, want)
		require.Equal(t, uint64(1), s.Stats().Resets)
	}
}

func TestSubscriberRepeats(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	one, two := stored(t, 1, nil, 1, 2), removed(t, 2, 1)
	p.publish(one)
	p.publish(two)
	p.send(0, one)
	p.send(1, two)
	p.send(1, two)
	until(t, func() bool { return s.Stats().Duplicates == 3 })
	settled(t, s, x, 2, ingested(t, one, two))
}

func TestSubscriberGarbage(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	p.publish(stored(t, 1, nil, 1, 2))
	p.publish([]byte("not msgpack"))
	p.publish(stored(t, 2, nil, 3))
	settled(t, s, x, 2, ingested(t, stored(t, 2, nil, 3)))
	require.Equal(t, uint64(1), s.Stats().DecodeErrors)
	require.Equal(t, uint64(1), s.Stats().WorkersCleared)
	// What is no message ends the connection, and another begins.
	p.raw([]byte("\x02\xff\xff\xff\xff\xff\xff\xff\xff"))
	p.awaitSubscriber()
	p.publish(stored(t, 3, nil, 4))
	settled(t, s, x, 3, ingested(t, stored(t, 2, nil, 3), stored(t, 3, nil, 4)))
}

// A copy that was damaged on its way is asked for again.
func TestSubscriberGarbageIsReplayed(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := model(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
	p.awaitSubscriber()
	until(t, func() bool { return s.Stats().Replays == 1 })
	p.publish(stored(t, 1, nil, 1, 2))
	p.send(p.keep(removed(t, 2, 1)), []byte("damaged"))
	settled(t, s, x, 2, ingested(t, stored(t, 1, nil, 1, 2), removed(t, 2, 1)))
	require.Zero(t, s.Stats().WorkersCleared)
}
