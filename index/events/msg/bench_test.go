package msg_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/kvferry/kvferry/index/events/msg"
)

// batchOf returns a batch of BlockStored events with uint64 hashes and 16 token
// ids for each block.
func batchOf(t testing.TB, events, blocks int, named bool) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var es list
	for range events {
		hashes, tokens := list{}, list{}
		for range blocks {
			hashes = append(hashes, r.Uint64())
			for range 16 {
				tokens = append(tokens, r.IntN(128000))
			}
		}
		if named {
			es = append(es, ordered{"type", "BlockStored", "block_hashes", hashes, "parent_block_hash", r.Uint64(), "token_ids", tokens, "block_size", 16,
				"lora_id", nil, "medium", "GPU", "lora_name", nil, "group_idx", 0})
		} else {
			es = append(es, list{"BlockStored", hashes, r.Uint64(), tokens, 16, nil, "GPU", nil})
		}
	}
	return pack(t, list{1e9, es, 0})
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ events, blocks int }{{1, 1}, {100, 1}, {10, 100}} {
		for _, named := range []bool{false, true} {
			b.Run(fmt.Sprintf("events=%d/blocks=%d/named=%v", c.events, c.blocks, named), func(b *testing.B) {
				payload := batchOf(b, c.events, c.blocks, named)
				var batch msg.Batch
				b.ReportAllocs()
				b.SetBytes(int64(len(payload)))
				for b.Loop() {
					if err := batch.Decode(payload); err != nil {
						b.Fatal(err)
					}
				}
				require.Equal(b, c.events*c.blocks, batch.Blocks)
				b.ReportMetric(float64(batch.Blocks)*float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
			})
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	payload := batchOf(t, 100, 10, true)
	var b msg.Batch
	require.NoError(t, b.Decode(payload))
	require.Zero(t, testing.AllocsPerRun(10, func() {
		if err := b.Decode(payload); err != nil {
			panic(err)
		}
	}))
}

// A million blocks in one batch, and a million events.
func TestDecodeMillion(t *testing.T) {
	t.Parallel()
	hash := "\xcf\x01\x02\x03\x04\x05\x06\x07\x08"
	payload := []byte("\x92\x01\x91\x92\xacBlockRemoved\xdd\x00\x0f\x42\x40")
	for range 1000000 {
		payload = append(payload, hash...)
	}
	var b msg.Batch
	require.NoError(t, b.Decode(payload))
	require.Equal(t, 1000000, b.Blocks)
	payload = []byte("\x92\x01\xdd\x00\x0f\x42\x40")
	for range 1000000 {
		payload = append(payload, "\x91\xb0AllBlocksCleared"...)
	}
	require.NoError(t, b.Decode(payload))
	require.Len(t, b.Events, 1000000)
}

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
