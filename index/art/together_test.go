package art_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
)

// TestTogether: readers and writers, snapshots and flushes at the same time, in a
// directory of the system. Each writer finds its own records at once, and all of
// them are there after reopening.
func TestTogether(t *testing.T) {
	t.Parallel()
	for _, o := range []art.Options{{CompactBytes: 8000}, {CompactBytes: 8000, Write: true}, {CompactBytes: 8000, Sync: true}} {
		t.Run(fmt.Sprintf("write=%v/sync=%v", o.Write, o.Sync), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			x := openDir(t, dir, o)
			const writers, rounds = 6, 60
			record := func(w, i int) index.Record {
				r := benchRecord(fmt.Sprint("p", i%7), fmt.Sprint("h", i), i)
				r.Worker, r.Tier = fmt.Sprint("w", w), index.LocalSSD
				return r
			}
			var writing, reading sync.WaitGroup
			written := make(chan struct{}, 2) // readers look as often as something is written
			for range 2 {
				reading.Go(func() { look(t, x, written) })
			}
			for w := range writers {
				writing.Go(func() {
					for i := range rounds {
						r := record(w, i)
						select {
						case written <- struct{}{}: // before the put, which they are to meet
						default: // they are looking
						}
						ok(t, x.Put(t.Context(), []index.Record{r, record(w, rounds+i)}))
						n, err := x.Remove(t.Context(), []index.Removal{{Scope: r.Scope, Worker: r.Worker, Hash: fmt.Sprint("h", rounds+i)}})
						if ok(t, err); n != 1 {
							t.Errorf("%d removed", n)
						}
						got, err := x.Locate(t.Context(), &r.Key, nil)
						if ok(t, err); len(got) == 0 {
							t.Errorf("a record is not there")
						}
						if i%20 == 0 {
							ok(t, x.Flush(t.Context()))
						}
					}
				})
			}
			writing.Wait()
			close(written)
			reading.Wait()
			require.NoError(t, art.Check(x))
			require.NoError(t, x.SnapshotError())
			before, err := picture(t, x)
			require.NoError(t, err)
			require.NoError(t, x.Close())
			x = openDir(t, dir, o)
			after, err := picture(t, x)
			require.NoError(t, err)
			require.Equal(t, before, after)
			m, err := x.Metrics(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, writers*rounds, m.ResidentBlocks)
			require.NoError(t, x.Close())
		})
	}
}

func ok(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

// look reads each time that something is written, until nothing is any more.
func look(t *testing.T, x *art.Index, written <-chan struct{}) {
	for range written {
		for i := range 7 {
			rs, err := x.Scan(t.Context(), &benchScope, fmt.Sprint("p", i), nil)
			ok(t, err)
			for k := range rs {
				if rs[k].Prefix != fmt.Sprint("p", i) || k > 0 && index.Compare(&rs[k-1], &rs[k]) >= 0 {
					t.Errorf("%+v", rs[k])
				}
			}
		}
		_, err := x.Snapshot(t.Context(), func(*index.Record) error { return nil })
		ok(t, err)
		_, err = x.Match(t.Context(), &index.Query{Scope: benchScope, Hashes: []string{"h1", "h2"}}, nil)
		ok(t, err)
		_, err = x.Metrics(t.Context())
		ok(t, err)
		_, err = x.ByHash(t.Context(), "h3", nil)
		ok(t, err)
	}
}
