package events

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events/msg"
)

// smallBatch is a batch of few blocks in any order: behind themselves, behind each
// other in rings, twice in one event.
func smallBatch(r *rand.Rand) []byte {
	n := 1 + r.IntN(6)
	b := []byte{0x92, 0x01, byte(0x90 + n)}
	few := func(most int) {
		k := r.IntN(most)
		b = append(b, byte(0x90+k))
		for range k {
			b = append(b, byte(r.IntN(6)))
		}
	}
	for range n {
		medium := []string{"\xc0", "\xa3GPU", "\xa3CPU"}[r.IntN(3)]
		if r.IntN(4) == 0 {
			b = append(b, "\x93\xacBlockRemoved"...)
			few(4)
			b = append(b, medium...)
			continue
		}
		b = append(b, "\x97\xabBlockStored"...)
		few(4)
		if r.IntN(3) == 0 {
			b = append(b, 0xc0)
		} else {
			b = append(b, byte(r.IntN(6)))
		}
		few(4) // token ids
		b = append(b, byte(r.IntN(3)), 0xc0)
		b = append(b, medium...)
	}
	return b
}

// Whatever engines say of parents, the ledger stays whole.
func TestIngestRings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 1))
	for range 400 {
		in := NewIngester(strict{t: t}, Engine{Name: "w", MaxBlocks: 1 + r.IntN(8)})
		var b msg.Batch
		for range 10 {
			require.NoError(t, b.Decode(smallBatch(r)))
			require.NoError(t, in.Ingest(t.Context(), &b))
			if r.IntN(2) == 0 {
				require.NoError(t, in.Flush(t.Context()))
			}
			for _, w := range in.workers {
				w.ledger.check(t)
			}
		}
	}
}
