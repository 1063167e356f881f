package wire_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// FuzzParseKey: what a decoder of keys takes is what the encoder writes.
func FuzzParseKey(f *testing.F) {
	r := drawn()
	r.Adapter, r.Worker = index.Named("\x00\x01"), "\x01"
	f.Add(wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier))
	f.Add(wire.AppendByHash(nil, &r.Key, r.Worker, r.Tier))
	f.Add(wire.AppendByWorker(nil, &r.Key, r.Worker, r.Tier))
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, x := range []struct {
			parse  func([]byte, *index.Record) error
			append func([]byte, *index.Key, string, index.Tier) []byte
		}{
			{wire.ParsePrimary, wire.AppendPrimary}, {wire.ParseByHash, wire.AppendByHash}, {wire.ParseByWorker, wire.AppendByWorker},
		} {
			var r index.Record
			if err := x.parse(key, &r); err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				continue
			}
			require.NoError(t, r.Check())
			require.Equal(t, key, x.append(nil, &r.Key, r.Worker, r.Tier))
		}
	})
}

// FuzzParseHolder: what Match reads of a key is in it.
func FuzzParseHolder(f *testing.F) {
	r := drawn()
	f.Add(wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)[len(wire.AppendChild(nil, &r.Scope, r.Prefix, r.Hash)):])
	f.Fuzz(func(t *testing.T, rest []byte) {
		encoded, group, tier, err := wire.ParseHolder(rest)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		worker, err := wire.ParseWorker(encoded)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		var r index.Record
		require.NoError(t, wire.ParseRest(append([]byte("h\x00"), rest...), &r))
		require.Equal(t, []any{r.Worker, r.Group, r.Tier}, []any{worker, group, tier})
	})
}

// FuzzParseValue: what the decoder of values takes is what the encoder writes.
func FuzzParseValue(f *testing.F) {
	r := drawn()
	r.Bytes, r.LastAccess, r.Refs, r.Pinned = 1<<40, 1<<50, 1<<31, true
	f.Add(wire.AppendValue(nil, &r, index.Recommended))
	f.Add(wire.AppendValue(nil, &r, index.AsHolt))
	f.Fuzz(func(t *testing.T, value []byte) {
		r := drawn()
		r.Adapter = index.Named("")
		if err := wire.ParseValue(value, &r); err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		require.LessOrEqual(t, len(value), wire.MaxValueBytes)
		require.Equal(t, value, wire.AppendValue(nil, &r, index.AsHolt))
	})
}

// FuzzOriginal: what the readers of the original's keys take is what its writers
// write.
func FuzzOriginal(f *testing.F) {
	r := drawn()
	first, err := wire.Original{}.AppendPrimary(nil, &r)
	require.NoError(f, err)
	second, err := wire.Original{}.AppendSecondary(nil, &r)
	require.NoError(f, err)
	f.Add(first)
	f.Add(second)
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, x := range []struct {
			parse  func([]byte, *index.Record) error
			append func([]byte, *index.Record) ([]byte, error)
		}{
			{wire.Original{}.ParsePrimary, wire.Original{}.AppendPrimary}, {wire.Original{}.ParseSecondary, wire.Original{}.AppendSecondary},
		} {
			var r index.Record
			if err := x.parse(key, &r); err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				continue
			}
			again, err := x.append(nil, &r)
			require.NoError(t, err)
			require.True(t, bytes.Equal(key, again), "%q\n%q", key, again)
		}
	})
}
