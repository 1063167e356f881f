package events

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
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

// FuzzIngest ingests two batches one after the other, whatever they are.
func FuzzIngest(f *testing.F) {
	var last []byte
	for _, name := range []string{"kvevents-int", "kvevents-bytes", "kvevents-selfdescribing"} {
		file, err := os.Open("testdata/" + name + ".jsonl.gz")
		require.NoError(f, err)
		z, err := gzip.NewReader(file)
		require.NoError(f, err)
		s := bufio.NewScanner(z)
		s.Buffer(nil, 1<<22)
		for s.Scan() {
			var v struct {
				Hex string `json:"hex"`
			}
			require.NoError(f, json.Unmarshal(s.Bytes(), &v))
			payload, err := hex.DecodeString(v.Hex)
			require.NoError(f, err)
			f.Add(last, payload)
			last = payload
		}
		require.NoError(f, file.Close())
	}
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
