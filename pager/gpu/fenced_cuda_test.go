//go:build cuda

package gpu

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// TestQueuedWorkOnAPageThatIsFencedMeanwhile queues a copy out, digests and a
// copy in of a page behind a copy into it, which then is given up.
func TestQueuedWorkOnAPageThatIsFencedMeanwhile(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		w, p, _ := heldWorld(t, inBatches(1, func(c *Config) {
			force(c)
			c.DrainTimeout = 5 * time.Millisecond
		}))
		givenUp := w.submitJob(p, pager.In, []pager.PageID{20}, noisy(w, 1))
		issued(p, 1+1, 1) // with the engine's wait
		busy := w.submitJob(p, pager.Out, []pager.PageID{0, 1, 2, 3, 4, 5, 6, 7, 8, 21}, w.frames(10, 0))
		issued(p, 2+slotsPerWay, 2)
		out := w.submitJob(p, pager.Out, []pager.PageID{20}, w.frames(1, 0))
		in := w.submitJob(p, pager.In, []pager.PageID{20, 21}, noisy(w, 2)) // after the copy out of 21
		digested := make(chan error)
		go func() {
			digested <- p.cache.DigestPages(t.Context(), digest.BLAKE3, nil, []pager.PageID{20}, make([]digest.Digest, 2))
		}()
		issued(p, 2+slotsPerWay, 5)
		p.cache.cancel(w.openWork(p, givenUp), context.DeadlineExceeded)
		require.Equal(t, pager.Unknown, w.outcome(p, givenUp).Outcome)
		softcuda.Release()
		w.done(p, busy)
		for _, ticket := range []pager.Ticket{out, in} {
			c := w.outcome(p, ticket)
			require.Equal(t, pager.NotStarted, c.Outcome)
			require.ErrorIs(t, c.Err, kvferry.ErrUnknownOutcome)
		}
		require.ErrorIs(t, <-digested, kvferry.ErrUnknownOutcome)
		w.done(p, w.submitJob(p, pager.In, []pager.PageID{21}, noisy(w, 1)))
		require.NoError(t, w.device.Synchronize())
	})
}

// failMarks lets the nth record of an event from now on fail, both tries to
// record it for what was queued, and both tries of a Close.
func failMarks(nth int) {
	for more := range 5 {
		softcuda.Fail("cuEventRecord", nth+more, outOfMemory)
	}
}

// TestCloseAfterAnEndThatCannotBeMarked lets no event be recorded: neither that
// of a submission nor, in two tries, one for the part that was queued. Memory is
// kept until one can be.
func TestCloseAfterAnEndThatCannotBeMarked(t *testing.T) {

	eachPath(t, func(t *testing.T, force func(*Config)) {
		for _, d := range []pager.Direction{pager.Out, pager.In} {
			t.Run(fmt.Sprintf("direction=%d", d), func(t *testing.T) {
				softcuda.Only(t)
				softcuda.Reset(t)
				w, p, _ := heldWorld(t, func(c *Config) {
					force(c)
					c.Streams = nil
				})
				failMarks(1)
				c := w.outcome(p, w.submitJob(p, d, []pager.PageID{1, 2, 3}, noisy(w, 3)))
				require.Equal(t, pager.Unknown, c.Outcome)
				require.ErrorIs(t, c.Err, kvferry.ErrUnknownOutcome)
				softcuda.Release() // the driver would wait with what a Close frees
				require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
				require.NoError(t, p.Close())
			})
		}
	})
}

// TestCloseAfterDigestsWithoutAMark is the same for the digests of changed pages,
// which are fetched when it is known which they are.
func TestCloseAfterDigestsWithoutAMark(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	_, p, _ := heldWorld(t, func(c *Config) { c.Streams = nil })
	softcuda.Release()
	failMarks(2) // the first is that of the comparison
	_, _, err := p.cache.ComparePages(t.Context(), digest.BLAKE3, nil, []pager.PageID{1, 2}, make([]digest.Digest, 4), nil, nil)
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
	require.NoError(t, p.Close())
}
