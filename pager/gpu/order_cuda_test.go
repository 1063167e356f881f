//go:build cuda

package gpu

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// ordinary is a layout of 24 pages of 2,880 bytes, in fragments of 120.
func ordinary(t testing.TB) *pager.Layout {
	t.Helper()
	m, err := pager.Plain(6, 4, 2, 15, pager.BF16)
	require.NoError(t, err)
	l, err := pager.KVPerPage(m, 24, false)
	require.NoError(t, err)
	return l
}

// inBatches makes batches of n pages.
func inBatches(n int, force func(*Config)) func(*Config) {
	return func(c *Config) {
		force(c)
		c.StagingBytes = lanesPerWay * int64(n*c.Layout.Meta.PageBytes())
	}
}

// submit submits a job that is not waited for.
func (w *world) submitJob(p *Pager, d pager.Direction, ids []pager.PageID, frames [][]byte) pager.Ticket {
	w.tb.Helper()
	t, err := p.cache.Submit(w.tb.Context(), pager.Job{Direction: d, Pages: ids, Frames: frames})
	require.NoError(w.tb, err)
	return t
}

// expect writes frames into memory as the reference does.
func expect(t *testing.T, l *pager.Layout, memory [][]byte, ids []pager.PageID, frames [][]byte) {
	t.Helper()
	ref := reference(t, l, memory)
	for i, id := range ids {
		require.NoError(t, ref.WritePage(t.Context(), id, frames[i]))
	}
}

// same requires the pages of memory to be in frames.
func holds(t *testing.T, l *pager.Layout, memory [][]byte, ids []pager.PageID, frames [][]byte) {
	t.Helper()
	ref, want := reference(t, l, memory), make([]byte, l.Meta.PageBytes())
	for i, id := range ids {
		require.NoError(t, ref.ReadPage(t.Context(), id, want))
		require.True(t, bytes.Equal(want, frames[i]), "page %d, number %d of the job", id, i)
	}
}

func equal(t *testing.T, want, got [][]byte) {
	t.Helper()
	for i := range want {
		require.True(t, bytes.Equal(want[i], got[i]), "region %d", i)
	}
}

// TestModelReadsWhatWasCopiedIn queues the model's reading while the copy in is
// still in the streams: only an event keeps it from coming first.
func TestModelReadsWhatWasCopiedIn(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		w := newWorld(t, ordinary(t))
		softcuda.Only(t)
		p := w.open(inBatches(5, force))
		memory, ids := w.memory(), w.all()[:17]
		w.queueUpload(memory)
		w.settle()
		frames := w.frames(len(ids), 0)
		for _, f := range frames {
			w.noise(f)
		}
		softcuda.Hold()
		ticket := w.submitJob(p, pager.In, ids, frames)
		for p.Stats().Submissions < 1+4+1 { // a mark, four batches, and the model's wait
			runtime.Gosched()
		}
		got := w.queueDownload()
		softcuda.Release()
		w.settle()
		expect(t, w.layout, memory, ids, frames)
		equal(t, memory, got)
		w.done(p, ticket)
	})
}

// TestCopyInWaitsForTheModelsReading lets the model read pages late, which are
// then written.
func TestCopyInWaitsForTheModelsReading(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		w := newWorld(t, ordinary(t))
		p := w.open(inBatches(5, force))
		memory, ids := w.memory(), w.all()
		w.queueUpload(memory)
		frames := w.frames(len(ids), 0)
		for _, f := range frames {
			w.noise(f)
		}
		before := w.queueDownload()
		w.move(p, pager.In, ids, frames)
		after := w.queueDownload()
		w.settle()
		equal(t, memory, before)
		expect(t, w.layout, memory, ids, frames)
		equal(t, memory, after)
	})
}

// TestWaysKeepTheOrderOfSubmission submits copies of the same pages both ways
// without waiting for any.
func TestWaysKeepTheOrderOfSubmission(t *testing.T) {
	for _, kind := range []string{"together", "heap"} {
		eachPath(t, func(t *testing.T, force func(*Config)) {
			w := newWorld(t, ordinary(t))
			p := w.open(inBatches(3, force))
			memory, ids := w.memory(), w.all()
			w.queueUpload(memory)
			var tickets []pager.Ticket
			var outs [][][]byte
			var states [][][]byte
			for round := range 6 {
				if round%2 == 1 {
					in, some := w.framesOf(kind), w.all()[:7+round]
					for _, f := range in {
						w.noise(f)
					}
					tickets = append(tickets, w.submitJob(p, pager.In, some, in[:len(some)]))
					expect(t, w.layout, memory, some, in[:len(some)])
				}
				out := w.framesOf(kind)
				tickets = append(tickets, w.submitJob(p, pager.Out, ids, out))
				outs, states = append(outs, out), append(states, cloned(memory))
			}
			for _, ticket := range tickets {
				w.done(p, ticket)
			}
			for i, out := range outs {
				holds(t, w.layout, states[i], ids, out)
			}
			got := w.queueDownload()
			w.settle()
			equal(t, memory, got)
		})
	}
}

func cloned(memory [][]byte) [][]byte {
	var out [][]byte
	for _, m := range memory {
		out = append(out, bytes.Clone(m))
	}
	return out
}

// TestLastFrameOfARepeatedPageCounts gives one job the same page several times.
func TestLastFrameOfARepeatedPageCounts(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		w := newWorld(t, ordinary(t))
		p := w.open(inBatches(6, force))
		memory := w.memory()
		w.queueUpload(memory)
		ids := []pager.PageID{3, 3, 4, 3, 9, 10, 11, 4, 4, 23}
		frames := w.frames(len(ids), 0)
		for _, f := range frames {
			w.noise(f)
		}
		w.move(p, pager.In, ids, frames)
		expect(t, w.layout, memory, ids, frames)
		got := w.queueDownload()
		w.settle()
		equal(t, memory, got)
		out := w.frames(len(ids), 5)
		w.move(p, pager.Out, ids, out)
		holds(t, w.layout, memory, ids, out)
	})
}
