package journal_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestOpenedBesideATransaction opens the log for reading while a transaction is
// there and what it speaks of is not yet. That is not dropped for good: once it
// is confirmed, the reader has it, too, and what comes after it.
func TestOpenedBesideATransaction(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"confirmed", "taken back"} {
		fs := vfs.NewDisk().Process()
		a := open(t, journal.Options{FS: fs})
		a.commit(t, journal.Durable, "one")
		there := false
		verify := func(ctx context.Context, _ journal.Tx) (bool, error) { return there, ctx.Err() }
		var early, late, rebased *reader
		w := a.lock(t)
		err := w.AppendBeside([]journal.Write{{Parts: [][]byte{[]byte("beside")}}}, func() error {
			early = open(t, journal.Options{FS: fs, ReadOnly: true, Verify: verify})
			require.Equal(t, []string{"1:one"}, early.follow(t))
			rebased = open(t, journal.Options{FS: fs, ReadOnly: true, Verify: verify})
			_, err := rebased.j.Rebase(t.Context())
			require.NoError(t, err)
			there = true
			late = open(t, journal.Options{FS: fs, ReadOnly: true, Verify: verify})
			require.Equal(t, []string{"1:one", "2:beside"}, late.follow(t))
			if then != "confirmed" {
				return context.Canceled
			}
			return nil
		})
		want := []string{"1:one", "2:beside", "3:last"}
		if then == "confirmed" {
			require.NoError(t, err)
			a.got = append(a.got, "2:beside")
		} else {
			require.ErrorIs(t, err, context.Canceled)
			want = []string{"1:one", "2:last"}
		}
		w.Unlock()
		a.commit(t, journal.Durable, "last")
		require.Equal(t, want, a.got)
		require.Equal(t, want, early.follow(t), then)
		require.Equal(t, want, rebased.follow(t), then)
		if then == "confirmed" {
			require.Equal(t, want, late.follow(t))
		} else {
			require.ErrorIs(t, late.j.Follow(t.Context(), late.apply), journal.ErrRebased)
		}
	}
}
