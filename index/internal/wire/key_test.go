package wire_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drawn() index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "a"}, Prefix: index.Root, Hash: "b0", Index: 1},
		Worker: "w", Tier: index.HBM,
	}
}

// TestDrawn: the keys are those that the package comment draws.
func TestDrawn(t *testing.T) {
	t.Parallel()
	r := drawn()
	require.Equal(t, "0101"+"6d00"+"7400"+"00"+"6100"+"726f6f7400"+"623000"+"000000010000000000000000"+"7700"+"02",
		hex.EncodeToString(wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)))
	r.Adapter, r.Group, r.Tokens, r.Tenant = index.Named("\x00\x01\x02"), 7, 9, ""
	require.Equal(t, "0102"+"623000"+"7700"+"6d00"+"7400"+"00"+"01"+"010101020200"+"02"+"00000007"+"726f6f7400"+"00000001"+"00000009",
		hex.EncodeToString(wire.AppendByHash(nil, &r.Key, r.Worker, r.Tier)))
	require.Equal(t, "0103"+"7700"+"02"+"6d00"+"7400"+"01"+"010101020200"+"00"+"726f6f7400"+"623000"+"000000010000000700000009",
		hex.EncodeToString(wire.AppendByWorker(nil, &r.Key, r.Worker, r.Tier)))
	r.Tokens, r.Bytes, r.LastAccess, r.Refs, r.Pinned = 300, 1, 2, 3, true
	require.Equal(t, "01"+"ac02"+"010203", hex.EncodeToString(wire.AppendValue(nil, &r, index.Recommended)))
	r.Adapter = index.Adapter{}
	require.Equal(t, "03"+"ac02"+"010203", hex.EncodeToString(wire.AppendValue(nil, &r, index.AsHolt)))
}

// fields are what is easily confused: empty, the escaped bytes, prefixes of one
// another, bytes that look like what stands between fields.
var fields = []string{"", "\x00", "\x01", "\x02", "\x00\x00", "\x00\x01", "\x01\x01", "\x01\x02", "a", "a\x00", "a\x00b", "ab", "a\x01", "a\xff", "ü", "\xff", "root"}

func randomRecord(dice *rand.Rand) index.Record {
	pick := func() string { return fields[dice.IntN(len(fields))] }
	r := index.Record{
		Key: index.Key{
			Scope: index.Scope{Model: pick(), Tokenizer: pick(), Tenant: pick()}, Prefix: pick(), Hash: pick(),
			Index: dice.Uint32() >> dice.IntN(32), Group: dice.Uint32() >> dice.IntN(32), Tokens: dice.Uint32() >> dice.IntN(32),
		},
		Worker: pick(), Tier: index.Tier(1 + dice.IntN(index.Tiers-1)),
		Bytes: dice.Uint64() >> dice.IntN(64), LastAccess: dice.Uint64() >> dice.IntN(64), Refs: dice.Uint32() >> dice.IntN(32), Pinned: dice.IntN(2) == 0,
	}
	if dice.IntN(3) > 0 {
		r.Adapter = index.Named(pick())
	}
	return r
}

// TestOrder: primary keys are ordered as records are, equal ones alone are equal,
// and every key leads back to its record.
func TestOrder(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 1))
	rs := make([]index.Record, 2000)
	for i := range rs {
		rs[i] = randomRecord(dice)
		if i > 0 && i%2 == 0 { // a neighbour that differs in little
			near := rs[i-1]
			near.Tenant, near.Prefix = rs[i].Tenant, rs[i].Prefix
			rs[i] = near
		}
	}
	slices.SortFunc(rs, func(a, b index.Record) int { return index.Compare(&a, &b) })
	var last []byte
	for i := range rs {
		r := &rs[i]
		key := wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)
		if i > 0 {
			require.Equal(t, index.Compare(&rs[i-1], r), bytes.Compare(last, key), "%+v\n%+v", rs[i-1], *r)
		}
		last = key
		identity := index.Record{Key: r.Key, Worker: r.Worker, Tier: r.Tier}
		for name, read := range map[string]func(*index.Record) error{
			"primary": func(x *index.Record) error { return wire.ParsePrimary(key, x) },
			"by hash": func(x *index.Record) error {
				return wire.ParseByHash(wire.AppendByHash(nil, &r.Key, r.Worker, r.Tier), x)
			},
			"by worker": func(x *index.Record) error {
				return wire.ParseByWorker(wire.AppendByWorker(nil, &r.Key, r.Worker, r.Tier), x)
			},
			"rest": func(x *index.Record) error {
				x.Scope, x.Prefix = r.Scope, r.Prefix
				return wire.ParseRest(key[len(wire.AppendParent(nil, &r.Scope, r.Prefix)):], x)
			},
		} {
			var got index.Record
			require.NoError(t, read(&got), name)
			require.Equal(t, identity, got, name)
		}
		require.NoError(t, wire.ParseValue(wire.AppendValue(nil, r, index.Recommended), &identity))
		require.Equal(t, *r, identity)
	}
}

// TestSeeks: what a seek prefix finds is what it asks for, and nothing else's key
// begins so.
func TestSeeks(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(2, 2))
	for range 20_000 {
		a, b := randomRecord(dice), randomRecord(dice)
		switch dice.IntN(4) { // else nearly nothing would ever agree
		case 0:
			b.Scope = a.Scope
		case 1:
			b.Scope, b.Prefix = a.Scope, a.Prefix
		case 2:
			b.Key = a.Key
		case 3:
			b.Hash, b.Worker, b.Scope = a.Hash, a.Worker, a.Scope
			b.Adapter = index.Named(fields[dice.IntN(len(fields))])
		}
		primary := wire.AppendPrimary(nil, &b.Key, b.Worker, b.Tier)
		byHash := wire.AppendByHash(nil, &b.Key, b.Worker, b.Tier)
		byWorker := wire.AppendByWorker(nil, &b.Key, b.Worker, b.Tier)
		seek := func(want bool, key, prefix []byte) {
			t.Helper()
			require.Equal(t, want, bytes.HasPrefix(key, prefix), "%+v\n%+v", a, b)
			end := wire.AppendEnd(nil, prefix)
			require.Equal(t, want, bytes.Compare(key, prefix) >= 0 && bytes.Compare(key, end) < 0)
		}
		child := a.Scope == b.Scope && a.Prefix == b.Prefix
		seek(a.Scope == b.Scope, primary, wire.AppendScope(nil, &a.Scope))
		seek(child, primary, wire.AppendParent(nil, &a.Scope, a.Prefix))
		child = child && a.Hash == b.Hash
		seek(child, primary, wire.AppendChild(nil, &a.Scope, a.Prefix, a.Hash))
		child = child && a.Index == b.Index && a.Group == b.Group
		seek(child, primary, wire.AppendKey(nil, &a.Key))
		seek(child && a.Tokens == b.Tokens, primary, wire.AppendTokens(wire.AppendKey(nil, &a.Key), a.Tokens))
		seek(a.Hash == b.Hash, byHash, wire.AppendHash(nil, a.Hash))
		seek(a.Worker == b.Worker, byWorker, wire.AppendWorker(nil, a.Worker))
		seek(a.Worker == b.Worker && a.Tier == b.Tier, byWorker, wire.AppendWorkerTier(nil, a.Worker, a.Tier))

		removal := index.Removal{Scope: a.Scope, AnyAdapter: dice.IntN(2) == 0, Worker: a.Worker, Hash: a.Hash}
		if dice.IntN(2) == 0 {
			removal.Tier = a.Tier
		}
		if dice.IntN(2) == 0 {
			removal.OneGroup, removal.Group = true, a.Group
		}
		mine, asked := b.Scope, a.Scope
		if removal.AnyAdapter {
			mine.Adapter, asked.Adapter = index.Adapter{}, index.Adapter{}
		}
		want := mine == asked && a.Worker == b.Worker && a.Hash == b.Hash &&
			(removal.Tier == 0 || a.Tier == b.Tier) && (!removal.OneGroup || a.Group == b.Group)
		require.Equal(t, want, bytes.HasPrefix(byHash, wire.AppendRemoval(nil, &removal)) && wire.Selected(&removal, &b))
	}
}

// TestHolder: what Match reads of a key is what is in it.
func TestHolder(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		r := randomRecord(dice)
		rest := wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)[len(wire.AppendChild(nil, &r.Scope, r.Prefix, r.Hash)):]
		encoded, group, tier, err := wire.ParseHolder(rest)
		require.NoError(t, err)
		worker, err := wire.ParseWorker(encoded)
		require.NoError(t, err)
		require.Equal(t, []any{r.Worker, r.Group, r.Tier}, []any{worker, group, tier})
		require.Equal(t, wire.AppendWorker(nil, r.Worker)[2:], encoded)
	}
	for _, bad := range []string{"", strings.Repeat("\x00", 12), strings.Repeat("\x00", 13) + "\x06", strings.Repeat("\x00", 12) + "w\x01", strings.Repeat("\x00", 12) + "w\x00v\x00\x01"} {
		_, _, _, err := wire.ParseHolder([]byte(bad))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, "%q", bad)
	}
}

// TestValueBytes: counting takes any value.
func TestValueBytes(t *testing.T) {
	t.Parallel()
	r := drawn()
	r.Bytes = 1 << 40
	for _, rules := range []index.Rules{index.Recommended, index.AsHolt} {
		n, err := wire.ValueBytes(wire.AppendValue(nil, &r, rules))
		require.NoError(t, err)
		require.Equal(t, r.Bytes, n)
	}
	_, err := wire.ValueBytes(nil)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	r.Adapter = index.Named("a")
	err = wire.ParseValue([]byte{2, 0, 0, 0, 0}, &r)
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "the key has an adapter")
}

func BenchmarkAppendPrimary(b *testing.B) {
	r := drawn()
	r.Hash, r.Prefix = strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendPrimary(buf[:0], &r.Key, r.Worker, r.Tier)
	}
	require.NotEmpty(b, buf)
}

func BenchmarkParsePrimary(b *testing.B) {
	r := drawn()
	r.Hash, r.Prefix = strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	key := wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, wire.ParsePrimary(key, &r))
	}
}
