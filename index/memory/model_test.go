package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
)

// lookAlikes are strings that some encoding could take for one another.
func lookAlikes() []string {
	hex := strings.Repeat("0123456789abcdef", 4)
	return []string{
		"", "\x00", "\x00\x00", "root", "0", "00", "1", "01", "18446744073709551615", "18446744073709551616", "0x1", "+1", " 1",
		hex, hex[:63], hex + "0", hex[:16], hex[:24], hex[:32], strings.ToUpper(hex), hex[:63] + "g", hex[:63] + "/", hex[:63] + "`",
		strings.Repeat("0", 16), strings.Repeat("1", 16), "12345678", strings.Repeat("f", 256), strings.Repeat("f", 264), strings.Repeat("x", 127),
		strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", 129) + "\x00", strings.Repeat("y", 5000), "\xff\xfe", "ä", "abcdefg", "abcdefg\x00", "abcdefgh",
	}
}

// world makes operations about few records.
type world struct {
	r                *rand.Rand
	strings, workers []string
	scopes           []index.Scope
}

func newWorld(seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 7)), strings: lookAlikes()}
	w.r.Shuffle(len(w.strings), func(i, j int) { w.strings[i], w.strings[j] = w.strings[j], w.strings[i] })
	w.strings = append(w.strings[:2+w.r.IntN(12)], index.Root, "")
	for i := range 1 + w.r.IntN(100) {
		w.workers = append(w.workers, fmt.Sprint("w", i))
	}
	for _, s := range []index.Scope{{}, {Model: "m"}, {Tenant: "m"}, {Tokenizer: "m"}, {Adapter: index.Named("")}, {Adapter: index.Named("m")}, {Model: "m", Tenant: "\x00"}} {
		if w.r.IntN(2) == 0 {
			w.scopes = append(w.scopes, s)
		}
	}
	w.scopes = append(w.scopes, index.Scope{Model: strings.Repeat("z", 300)})
	if seed%2 == 0 { // few blocks with many records each
		w.strings, w.scopes, w.workers = w.strings[:1+w.r.IntN(2)], w.scopes[:1], w.workers[:min(len(w.workers), 1+w.r.IntN(3))]
		w.strings = append(w.strings, index.Root)
	}
	return w
}

func pick[T any](w *world, list []T) T { return list[w.r.IntN(len(list))] }

func (w *world) record() index.Record {
	r := index.Record{Worker: pick(w, w.workers), Tier: index.Tier(1 + w.r.IntN(5)), Bytes: w.r.Uint64N(100), LastAccess: w.r.Uint64N(50), Pinned: w.r.IntN(9) == 0}
	r.Scope, r.Prefix, r.Hash = pick(w, w.scopes), pick(w, w.strings), pick(w, w.strings)
	r.Index, r.Group, r.Tokens = uint32(w.r.IntN(3)), uint32(w.r.IntN(2)), uint32(w.r.IntN(2))
	if w.r.IntN(9) == 0 {
		r.Refs = 1
	}
	return r
}

func (w *world) removal() index.Removal {
	r := w.record()
	d := index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash, AnyAdapter: w.r.IntN(3) == 0, OneGroup: w.r.IntN(3) == 0, Group: r.Group}
	if w.r.IntN(2) == 0 {
		d.Tier = r.Tier
	}
	return d
}

// change does the same to both indexes.
func (w *world) change(t *testing.T, x, m index.Index) {
	ctx := context.Background()
	var got, want int
	var err, err2 error
	switch k := w.r.IntN(100); {
	case k < 70:
		rs := make([]index.Record, 1+w.r.IntN(4))
		for i := range rs {
			rs[i] = w.record()
		}
		err, err2 = x.Put(ctx, rs), m.Put(ctx, rs)
	case k < 90:
		ds := make([]index.Removal, 1+w.r.IntN(5))
		for i := range ds {
			ds[i] = w.removal()
		}
		got, err = x.Remove(ctx, ds)
		want, err2 = m.Remove(ctx, ds)
	case k < 94:
		name := pick(w, w.workers)
		got, err = x.ClearWorker(ctx, name)
		want, err2 = m.ClearWorker(ctx, name)
	case k < 97:
		before := w.r.Uint64N(60)
		got, err = x.Expire(ctx, before)
		want, err2 = m.Expire(ctx, before)
	case k < 99:
		name, n := pick(w, w.workers), 1+w.r.Uint64N(2)
		err, err2 = x.Announce(ctx, name, n), m.Announce(ctx, name, n)
	default:
		err, err2 = x.Clear(ctx), m.Clear(ctx)
	}
	require.NoError(t, err)
	require.NoError(t, err2)
	require.Equal(t, want, got)
}

// compare asks both indexes the same.
func (w *world) compare(t *testing.T, x, m index.Index) {
	ctx := context.Background()
	r := w.record()
	for _, ask := range []func(x index.Index) (any, error){
		func(x index.Index) (any, error) { return some(x.Locate(ctx, &r.Key, nil)) },
		func(x index.Index) (any, error) { return some(x.Scan(ctx, &r.Scope, r.Prefix, nil)) },
		func(x index.Index) (any, error) { return some(x.ByHash(ctx, r.Hash, nil)) },
		func(x index.Index) (any, error) { return some(x.Workers(ctx)) },
	} {
		got, err := ask(x)
		require.NoError(t, err)
		want, err := ask(m)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	q := index.Query{Scope: r.Scope, Group: r.Group}
	for range 1 + w.r.IntN(20) {
		q.Hashes = append(q.Hashes, pick(w, w.strings))
	}
	if w.r.IntN(2) == 0 {
		q.Workers = []string{}
		for range w.r.IntN(4) {
			q.Workers = append(q.Workers, pick(w, w.workers))
		}
	}
	got, err := some(x.Match(ctx, &q, nil))
	require.NoError(t, err)
	want, err := some(m.Match(ctx, &q, nil))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// some makes an empty slice nil.
func some[T any](list []T, err error) ([]T, error) {
	if len(list) == 0 {
		return nil, err
	}
	return list, err
}

func snapshot(t *testing.T, x index.Index) (rs []index.Record, seq uint64) {
	seq, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		rs = append(rs, *r)
		return nil
	})
	require.NoError(t, err)
	return rs, seq
}

func runModel(t *testing.T, seed uint64, steps int) {
	w := newWorld(seed)
	o := index.Options{Rules: index.Rules(seed % 3)}
	x, err := New(Options{o})
	require.NoError(t, err)
	defer func() { require.NoError(t, x.Close()) }()
	m := indextest.NewModel(o)
	for i := range steps {
		w.change(t, x, m)
		w.compare(t, x, m)
		if i%8 == 0 {
			check(t, x)
		}
	}
	check(t, x)
	got, seq := snapshot(t, x)
	want, wantSeq := snapshot(t, m)
	require.Equal(t, want, got)
	require.Equal(t, wantSeq, seq)
	gotMetrics, err := x.Metrics(t.Context())
	require.NoError(t, err)
	wantMetrics, err := m.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, wantMetrics, gotMetrics)
	require.NoError(t, x.Clear(t.Context()))
	requireEmpty(t, x)
}

// TestModel does and asks thousands of things about few look-alike records.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds, steps := uint64(9), 120
	if os.Getenv("KVFERRY_SOAK") != "" {
		seeds, steps = 60, 500
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			runModel(t, seed, steps)
		})
	}
}

// FuzzModel lets the fuzzer choose the world. Most runs are short, so that it looks
// at more worlds; one seed in eight goes on for longer.
func FuzzModel(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed, uint16(20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		most := uint16(30)
		if seed%8 == 0 {
			most = 200
		}
		runModel(t, seed, int(steps%most))
	})
}
