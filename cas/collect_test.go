package cas_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// TestSplit: entries of the hours 0 to 5, of which that of hour 1 is named.
func TestSplit(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var entries []cas.Entry
	for i := range 6 {
		e := cas.Entry{Created: start.Add(time.Duration(i) * time.Hour), Pages: int64(i)}
		if i == 1 {
			e.Names = []string{"named"}
		}
		entries = append(entries, e)
	}
	for _, x := range []struct {
		name   string
		last   int
		within time.Duration
		now    time.Time
		kept   []int64
	}{
		{"no policy", 0, 0, start, []int64{0, 1, 2, 3, 4, 5}},
		{"last", 2, 0, start, []int64{1, 4, 5}},
		{"last of more", 100, 0, start, []int64{0, 1, 2, 3, 4, 5}},
		{"within", 0, 2 * time.Hour, start.Add(6 * time.Hour), []int64{1, 5}},
		{"within, of the future", 0, 1, start.Add(3 * time.Hour), []int64{1, 3, 4, 5}},
		{"the longest time", 0, math.MaxInt64, start.AddDate(200, 0, 0), []int64{0, 1, 2, 3, 4, 5}},
		{"either", 1, 3 * time.Hour, start.Add(6 * time.Hour), []int64{1, 4, 5}},
		{"nothing but names", 0, 1, start.AddDate(9, 0, 0), []int64{1}},
	} {
		o := cas.CollectOptions{KeepLast: x.last, KeepWithin: x.within}
		kept, dropped := o.Split(entries, x.now)
		var got []int64
		for _, e := range kept {
			got = append(got, e.Pages)
		}
		require.Equal(t, x.kept, got, x.name)
		require.Len(t, dropped, len(entries)-len(kept), x.name)
		require.True(t, orderedByTime(dropped), x.name)
	}
}

func orderedByTime(entries []cas.Entry) bool {
	for i := range entries {
		if i > 0 && !entries[i-1].Created.Before(entries[i].Created) {
			return false
		}
	}
	return true
}

func TestCollectOptions(t *testing.T) {
	t.Parallel()
	refs := func(context.Context, cas.Entry, func(digest.Digest) error) error { return nil }
	require.NoError(t, cas.CollectOptions{References: refs, KeepLast: 1, KeepWithin: 1}.Validate())
	for _, o := range []cas.CollectOptions{{}, {References: refs, KeepLast: -1}, {References: refs, KeepWithin: -1}} {
		require.ErrorIs(t, o.Validate(), kvferry.ErrInvalid)
	}
}
