package events_test

import (
	"context"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
	"github.com/kvferry/kvferry/index/events/msg"
	"github.com/kvferry/kvferry/index/memory"
)

// load is batches of prompts of 64 blocks with 16 tokens each, as vLLM publishes
// them, each block new: hashes are of the form n*odd.
func load(t testing.TB, batches, events, blocks int, bytes bool) (payloads [][]byte, total int) {
	n := uint64(0)
	hash := func(n uint64) any {
		v := n * 0x9e3779b97f4a7c15
		if !bytes {
			return v
		}
		b := make([]byte, 32)
		binary.BigEndian.PutUint64(b, v)
		binary.BigEndian.PutUint64(b[24:], ^v)
		return b
	}
	for range batches {
		var es list
		for range events {
			hashes, tokens := list{}, list{}
			var parent any
			if n%64 != 0 {
				parent = hash(n)
			}
			for range blocks {
				n++
				hashes = append(hashes, hash(n))
				for k := range uint64(16) {
					tokens = append(tokens, (n*16+k)*7919%128000)
				}
			}
			es = append(es, ordered{"type", "BlockStored", "block_hashes", hashes, "parent_block_hash", parent, "token_ids", tokens, "block_size", 16,
				"lora_id", nil, "medium", "GPU", "lora_name", nil, "group_idx", 0})
		}
		payloads = append(payloads, pack(t, list{1e9, es, 0}))
	}
	return payloads, int(n)
}

var loads = []struct {
	name                    string
	batches, events, blocks int
	bytes                   bool
}{
	{"prompts/ints", 3000, 1, 64, false},
	{"prompts/bytes", 3000, 1, 64, true},
	{"decoding/ints", 3000, 64, 1, false},
}

func openMemory(t testing.TB) index.Index {
	x, err := memory.New(memory.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}

// BenchmarkIngest decodes and ingests into an index in memory that is empty at
// first: 192,000 blocks each time.
func BenchmarkIngest(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			payloads, total := load(b, l.batches, l.events, l.blocks, l.bytes)
			b.ReportAllocs()
			cpu := cpuSeconds(b)
			for b.Loop() {
				x := openMemory(b)
				in := events.NewIngester(x, engineA)
				var batch msg.Batch
				for _, p := range payloads {
					if err := batch.Decode(p); err != nil {
						b.Fatal(err)
					}
					if err := in.Ingest(b.Context(), &batch); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, in.Flush(b.Context()))
				m, err := x.Metrics(b.Context())
				require.NoError(b, err)
				require.Equal(b, uint64(total), m.ResidentBlocks)
			}
			report(b, total, cpu)
		})
	}
}

// report tells the blocks of a second, and of a second of a core: of both sides
// and the collector, whatever else runs on the machine.
func report(b *testing.B, total int, cpu float64) {
	blocks := float64(total) * float64(b.N)
	b.ReportMetric(blocks/b.Elapsed().Seconds(), "blocks/s")
	b.ReportMetric(blocks/(cpuSeconds(b)-cpu), "blocks/cpu-s")
}

// cpuSeconds is what the process has used of all cores.
func cpuSeconds(t testing.TB) float64 {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// discard is an index that takes everything and has nothing.
type discard struct{ index.Index }

// BenchmarkSubscriber is the whole way, from a TCP socket on loopback, sender and
// receiver each on a core.
func BenchmarkSubscriber(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			payloads, total := load(b, l.batches, l.events, l.blocks, l.bytes)
			b.ReportAllocs()
			cpu := 0.0 // of what is timed
			for b.Loop() {
				b.StopTimer()
				p := newPublisher(b)
				x := openMemory(b)
				s := subscribe(b, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
				p.awaitSubscriber()
				var wire []byte
				for i, q := range payloads {
					wire = zmtp.AppendMessage(wire, []byte("kv"), binary.BigEndian.AppendUint64(nil, uint64(i)), q)
				}
				b.StartTimer()
				cpu -= cpuSeconds(b)
				p.raw(wire)
				until(b, func() bool {
					m, err := x.Metrics(b.Context())
					return err == nil && m.ResidentBlocks == uint64(total)
				})
				cpu += cpuSeconds(b)
				b.StopTimer()
				p.stop()
				require.NoError(b, s.Close())
				b.StartTimer()
			}
			report(b, total, cpuSeconds(b)-cpu)
		})
	}
}

// BenchmarkTranslate is Ingest without the index.
func BenchmarkTranslate(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			payloads, total := load(b, l.batches, l.events, l.blocks, l.bytes)
			b.ReportAllocs()
			cpu := cpuSeconds(b)
			for b.Loop() {
				in := events.NewIngester(discard{}, engineA)
				var batch msg.Batch
				for _, p := range payloads {
					if err := batch.Decode(p); err != nil {
						b.Fatal(err)
					}
					if err := in.Ingest(b.Context(), &batch); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, in.Flush(b.Context()))
			}
			report(b, total, cpu)
		})
	}
}

// Put discards.
func (discard) Put(context.Context, []index.Record) error { return nil }

// ordered is a map's keys and values in the order that an engine has.
type ordered []any

// EncodeMsgpack writes a map.
func (o ordered) EncodeMsgpack(e *msgpack.Encoder) error {
	if err := e.EncodeMapLen(len(o) / 2); err != nil {
		return err
	}
	for _, v := range o {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	return nil
}
