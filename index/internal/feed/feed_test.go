package feed

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(hashes ...string) *index.Change {
	c := &index.Change{Kind: index.DidPut}
	for _, h := range hashes {
		r := index.Record{Worker: "w", Tier: index.HBM}
		r.Model, r.Tenant, r.Adapter, r.Hash = "m", "tenant-"+h, index.Named("a"), h
		c.Records = append(c.Records, r)
	}
	return c
}

// take returns the hashes of so many changes behind a number.
func take(t *testing.T, f *Feed, after uint64, n int) []string {
	t.Helper()
	var got []string
	seq := after
	for c, err := range f.Watch(t.Context(), after) {
		require.NoError(t, err)
		seq++
		require.Equal(t, seq, c.Seq)
		for i := range c.Records {
			got = append(got, c.Records[i].Hash)
			require.Equal(t, "tenant-"+c.Records[i].Hash, c.Records[i].Tenant)
			c.Records[i] = index.Record{} // the change is ours
		}
		if n--; n == 0 {
			return got
		}
	}
	return got
}

func watchError(ctx context.Context, f *Feed, after uint64) error {
	for c, err := range f.Watch(ctx, after) {
		if err != nil && c == nil {
			return err
		}
	}
	return nil
}

func TestLateWatchers(t *testing.T) {
	t.Parallel()
	f := New(10, 100)
	require.EqualValues(t, 100, f.Seq())
	require.EqualValues(t, 101, f.Add(put("nobody sees this")))
	seq := f.Watch(t.Context(), 101) // kept from here on
	require.EqualValues(t, 102, f.Add(put("a", "b")))
	f.Add(put("c"))
	for range 2 { // a sequence can be walked again
		require.Equal(t, []string{"a", "b", "c"}, take(t, f, 101, 2))
		for c, err := range seq {
			require.NoError(t, err)
			require.Len(t, c.Records, 2)
			break
		}
	}
	require.Equal(t, []string{"c"}, take(t, f, 102, 1))
	require.ErrorIs(t, watchError(t.Context(), f, 100), kvferry.ErrExpired)
	require.ErrorIs(t, watchError(t.Context(), f, 104), kvferry.ErrExpired)
}

func TestAllKinds(t *testing.T) {
	t.Parallel()
	f := New(10, 0)
	f.Watch(t.Context(), 0)
	scope := index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}
	for _, c := range []index.Change{
		{Kind: index.DidRemove, Removals: []index.Removal{{Scope: scope, Worker: "w", Hash: "h"}, {Scope: scope, Worker: "w", Hash: "h2", Tier: index.HBM}}},
		{Kind: index.DidClearWorker, Worker: "w"},
		{Kind: index.DidClear},
		{Kind: index.DidExpire, Before: 7},
		{Kind: index.DidAnnounce, Worker: "w", Incarnation: 9},
	} {
		seq := f.Add(&c)
		for got, err := range f.Watch(t.Context(), seq-1) {
			require.NoError(t, err)
			want := c
			want.Seq = seq
			if want.Removals == nil {
				require.Empty(t, got.Removals)
				got.Removals = nil
			}
			require.Empty(t, got.Records)
			got.Records = nil
			require.Equal(t, want, *got)
			break
		}
	}
}

// TestKeepsNoBuffer: what is kept does not change with the caller's memory.
func TestKeepsNoBuffer(t *testing.T) {
	t.Parallel()
	f := New(10, 0)
	f.Watch(t.Context(), 0)
	c := put("a")
	f.Add(c)
	require.Zero(t, c.Seq)
	c.Records[0].Hash = "changed"
	require.Equal(t, []string{"a"}, take(t, f, 0, 1))
}

func TestFallBehind(t *testing.T) {
	t.Parallel()
	f := New(3, 0)
	f.Watch(t.Context(), 0)
	f.Add(put("1"))
	n := uint64(0)
	for c, err := range f.Watch(t.Context(), 0) {
		if n++; n == 2 {
			require.ErrorIs(t, err, kvferry.ErrExpired)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, n, c.Seq)
		for range 4 { // one more than are kept
			f.Add(put("x"))
		}
	}
	require.EqualValues(t, 2, n)
	require.Len(t, take(t, f, 2, 3), 3)
	require.Len(t, f.kept, 3)
}

// TestBytes: of huge changes fewer are kept, but always the newest; what counts is
// what they take, not how many records they have.
func TestBytes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxBytes+1)
	huge := []*index.Change{
		{Kind: index.DidPut, Records: make([]index.Record, maxBytes/64)},
		{Kind: index.DidRemove, Removals: make([]index.Removal, maxBytes/64)},
		put(long),
		{Kind: index.DidPut, Records: []index.Record{{Key: index.Key{Scope: index.Scope{Tenant: long}}}}},
		{Kind: index.DidClearWorker, Worker: long},
	}
	f := New(10, 0)
	f.Watch(t.Context(), 0)
	f.Add(put("small"))
	small := f.bytes
	for _, c := range huge {
		f.Add(c)
		require.Len(t, f.kept, 1)
		require.Greater(t, f.bytes, maxBytes)
	}
	require.ErrorIs(t, watchError(t.Context(), f, 0), kvferry.ErrExpired)
	f.Add(put("small"))
	require.Equal(t, []string{"small"}, take(t, f, uint64(len(huge)+1), 1))
	require.Equal(t, small, f.bytes)
	f = New(1<<20, 0)
	f.Watch(t.Context(), 0)
	for range 300 {
		f.Add(&index.Change{Kind: index.DidPut, Records: make([]index.Record, 1<<12)})
	}
	require.LessOrEqual(t, f.bytes, maxBytes)
	require.Greater(t, f.bytes, maxBytes/2)
}

func TestEnd(t *testing.T) {
	t.Parallel()
	f := New(3, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended, closed := make(chan error), make(chan error)
	go func() { ended <- watchError(ctx, f, 0) }()
	cancel(nil)
	require.ErrorIs(t, <-ended, context.Canceled)
	go func() { closed <- watchError(context.WithoutCancel(ctx), f, 0) }()
	f.Close()
	f.Close()
	require.ErrorIs(t, <-closed, kvferry.ErrClosed)
	require.EqualValues(t, 1, f.Add(put("a")))
	require.ErrorIs(t, watchError(t.Context(), f, 0), kvferry.ErrClosed)
	require.ErrorIs(t, watchError(t.Context(), f, 9), kvferry.ErrClosed)
	require.Empty(t, f.kept)
}

// TestConcurrent: many writers, and watchers that begin at any time; each sees
// every change once and in order.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const writers, each, watchers = 4, 500, 8
	f := New(writers*each, 0)
	all := f.Watch(t.Context(), 0) // all changes are kept
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				f.Add(put(fmt.Sprintf("%d-%d", w, i)))
			}
		})
	}
	for range watchers {
		wg.Go(func() {
			next, seen := uint64(1), [writers]int{}
			for c, err := range all {
				if err != nil || c.Seq != next {
					t.Errorf("change %v, want %d: %v", c, next, err)
					return
				}
				var w, i int
				if _, err := fmt.Sscanf(c.Records[0].Hash, "%d-%d", &w, &i); err != nil || seen[w] != i {
					t.Errorf("writer %d: change %d, want %d: %v", w, i, seen[w], err)
				}
				seen[w]++
				if next++; next > writers*each {
					return
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, writers*each, f.Seq())
}

// TestBegin: of the changes beside the first Watch, all behind it are kept.
func TestBegin(t *testing.T) {
	t.Parallel()
	const each = 200
	f := New(1000, 0)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range each {
				f.Add(put("x"))
			}
		})
	}
	after := f.Seq()
	f.Watch(t.Context(), after)
	wg.Wait()
	from := f.first - 1
	require.GreaterOrEqual(t, from, after)
	if n := 3*each - int(from); n > 0 {
		require.Len(t, take(t, f, from, n), n)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, watch := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%t", watch), func(b *testing.B) {
			f, c := New(index.DefaultHistory, 0), put("0123456789abcdef")
			if watch {
				f.Watch(b.Context(), 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				f.Add(c)
			}
		})
	}
}

// TestStopsKeeping: once many changes went by and nobody watched, nothing is kept
// until somebody does.
func TestStopsKeeping(t *testing.T) {
	t.Parallel()
	f := New(3, 0)
	require.EqualValues(t, patience*index.DefaultHistory, f.patience)
	f.patience = 3
	behind := f.Watch(t.Context(), 2)
	for i := range 3 {
		f.Add(put(fmt.Sprint(i)))
	}
	require.Len(t, f.kept, 3)
	require.Equal(t, []string{"0", "1", "2"}, take(t, f, 0, 3)) // until now somebody watches
	for i := range 3 {
		require.NotNil(t, f.Copy(put("x")).change)
		f.Add(put(fmt.Sprint(3 + i)))
	}
	require.Equal(t, []string{"3", "4", "5"}, take(t, f, 3, 3))
	for range 4 {
		f.Add(put("nobody sees this"))
	}
	require.Nil(t, f.kept)
	require.Zero(t, f.bytes)
	require.Nil(t, f.Copy(put("x")).change)
	f.Add(put("nor this"))
	require.EqualValues(t, 11, f.Seq())
	for c, err := range behind { // it begins anew, at what is not kept any more
		require.Nil(t, c)
		require.ErrorIs(t, err, kvferry.ErrExpired)
	}
	f.AddCopy(put("kept"), Copy{})
	c := put("copied")
	made := f.Copy(c)
	c.Records[0].Hash = "changed"
	f.AddCopy(c, made)
	require.Equal(t, []string{"kept", "copied"}, take(t, f, 11, 2))
	require.ErrorIs(t, watchError(t.Context(), f, 10), kvferry.ErrExpired)
}

// TestKeepsForWhoWatches: a watcher that looks at a change misses none, however
// many go by.
func TestKeepsForWhoWatches(t *testing.T) {
	t.Parallel()
	f := New(3, 0)
	f.patience = 3
	f.Watch(t.Context(), 0)
	f.Add(put("0"))
	n := 0
	for c, err := range f.Watch(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), c.Records[0].Hash)
		if n++; n == 20 {
			break
		}
		f.Add(put(fmt.Sprint(n)))
	}
	require.Equal(t, 20, n)
}
