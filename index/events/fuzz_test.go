package events

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/msg"
)

// strict is an index that looks at what it is given, and keeps nothing.
type strict struct {
	index.Index
	t *testing.T
}

// Put checks records.
func (s strict) Put(_ context.Context, rs []index.Record) error {
	for i := range rs {
		require.NoError(s.t, rs[i].Check())
		require.NotEmpty(s.t, rs[i].Worker)
	}
	return nil
}

// Remove checks removals.
func (s strict) Remove(_ context.Context, rs []index.Removal) (int, error) {
	for i := range rs {
		require.True(s.t, rs[i].Tier == 0 || rs[i].Tier.Valid())
	}
	return 0, nil
}

// ClearWorker does nothing.
func (strict) ClearWorker(context.Context, string) (int, error) { return 0, nil }

// FuzzIngest ingests two batches one after the other, whatever they are. Small ones
// to begin with: package msg fuzzes the decoding of large ones.
func FuzzIngest(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 20 {
		f.Add(smallBatch(r), smallBatch(r))
	}
	f.Add([]byte("\x93\x01\x91\x81\xa4type\xb0AllBlocksCleared\x00"), []byte("\x93\x01\x91\x83\xa4type\xacBlockRemoved\xacblock_hashes\x91\xc4\x01x\xa9group_idx\x01\x02"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		in := NewIngester(strict{t: t}, Engine{Name: "w", MaxBlocks: 8})
		var b msg.Batch
		for _, payload := range [][]byte{one, two, one} {
			if b.Decode(payload) != nil {
				continue
			}
			if err := in.Ingest(t.Context(), &b); err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				require.NoError(t, in.Clear(t.Context()))
			}
			require.NoError(t, in.Flush(t.Context()))
			for _, w := range in.workers {
				w.ledger.check(t)
			}
		}
	})
}
