//go:build cuda

package gpu

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// The codes that driver calls answer with: one that leaves the device as it is,
// and one that loses it.
const (
	outOfMemory    = 2
	illegalAddress = 700
)

// patient is what a fault is let loose on.
type patient struct {
	*world
	p      *Pager
	memory [][]byte // as it ought to be
	ids    []pager.PageID
	frames [][]byte
}

// job runs a job and returns how it failed.
func (c *patient) job(d pager.Direction) error {
	ticket, err := c.p.cache.Submit(c.tb.Context(), pager.Job{Direction: d, Pages: c.ids, Frames: c.frames})
	if err != nil {
		return err
	}
	done, err := c.p.cache.Wait(c.tb.Context(), ticket)
	require.NoError(c.tb, err)
	require.Equal(c.tb, done.Err == nil, done.Outcome == pager.Done)
	require.Equal(c.tb, done.Outcome == pager.Unknown, errors.Is(done.Err, kvferry.ErrUnknownOutcome))
	if done.Outcome == pager.Unknown {
		require.ErrorIs(c.tb, done.Err, kvferry.ErrDeviceLost, "nothing else has no end here")
	}
	return done.Err
}

// sweep fails driver call k = 1, 2, 3 ... of an operation until one run is clean,
// of those that are this process's: of each code others.
func sweep(t *testing.T, force func(*Config), run func(c *patient) error) {
	t.Helper()
	softcuda.Only(t)
	for i, code := range []int{outOfMemory, illegalAddress} {
		faults := 0
		for k := 1; ; k++ {
			if !softcuda.Mine(k + i) {
				continue
			}
			clean := false
			t.Run(fmt.Sprintf("code=%d/call=%d", code, k), func(t *testing.T) { clean = faulty(t, force, run, k, code) })
			if clean || t.Failed() {
				break
			}
			faults++
			require.Less(t, k, 1000)
		}
		require.Positive(t, faults)
	}
}

// faulty runs an operation whose k-th driver call fails, and reports whether it
// had fewer.
func faulty(t *testing.T, force func(*Config), run func(c *patient) error, k, code int) (clean bool) {
	softcuda.Reset(t)
	c := &patient{world: newWorld(t, ordinary(t))}
	c.memory, c.ids = c.world.memory(), c.all()[:4]
	c.queueUpload(c.memory)
	c.settle()
	c.p = c.open(inBatches(2, force))
	c.p.cache.awake = 1 // few looks, so that the sweep is short
	c.frames = c.framesOf("mixed")[:len(c.ids)]
	for _, f := range c.frames {
		c.noise(f)
	}
	before := softcuda.TotalCalls()
	softcuda.FailCall(k, code)
	err := run(c)
	clean = softcuda.TotalCalls()-before < k
	softcuda.FailCall(1<<30, code) // one that did not come does not come
	if clean {
		require.NoError(t, err)
		return true
	}
	require.Error(t, err)
	if code == illegalAddress {
		require.ErrorIs(t, err, kvferry.ErrDeviceLost)
		require.Error(t, c.device.Err())
		c.afterLoss()
		return false
	}
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	c.afterFault()
	return false
}

// afterLoss checks that everything says so.
func (c *patient) afterLoss() {
	buf := make([]byte, c.layout.Meta.PageBytes())
	for _, err := range []error{
		c.p.cache.ReadPage(c.tb.Context(), c.ids[0], buf), c.p.cache.WritePage(c.tb.Context(), c.ids[0], buf), c.job(pager.Out),
	} {
		if !errors.Is(err, kvferry.ErrClosed) { // by the operation itself
			require.ErrorIs(c.tb, err, kvferry.ErrDeviceLost)
		}
	}
}

// afterFault checks that only pages of the job may have changed, and that jobs
// are right from now on.
func (c *patient) afterFault() {
	t := c.tb
	if c.p.cache.closed {
		return
	}
	got := c.queueDownload()
	c.settle()
	ref, now := c.reference(c.memory), c.reference(got)
	a, b := make([]byte, c.layout.Meta.PageBytes()), make([]byte, c.layout.Meta.PageBytes())
	for _, id := range c.ids { // they may be anything
		require.NoError(t, now.ReadPage(t.Context(), id, a))
		require.NoError(t, ref.WritePage(t.Context(), id, a))
	}
	for i := range got {
		require.True(t, bytes.Equal(c.memory[i], got[i]), "region %d: beyond the job's pages", i)
	}
	for _, f := range c.frames {
		c.noise(f)
	}
	require.NoError(t, c.job(pager.In))
	want := make([][]byte, len(c.frames))
	for i, f := range c.frames {
		want[i] = bytes.Clone(f)
		clear(f)
	}
	require.NoError(t, c.job(pager.Out))
	for i := range want {
		require.True(t, bytes.Equal(want[i], c.frames[i]), "frame %d", i)
	}
	require.NoError(t, c.p.cache.ReadPage(t.Context(), c.ids[1], b))
	require.True(t, bytes.Equal(want[1], b))
	require.Zero(t, c.p.Stats().Fenced)
}

func (c *patient) reference(memory [][]byte) pager.Pager {
	t, ok := c.tb.(*testing.T)
	require.True(c.tb, ok)
	return reference(t, c.layout, memory)
}

func TestFaultsOfCopies(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		for _, d := range []pager.Direction{pager.Out, pager.In} {
			t.Run(fmt.Sprintf("direction=%d", d), func(t *testing.T) {
				sweep(t, force, func(c *patient) error { return c.job(d) })
			})
		}
	})
}

func TestFaultsOfDigests(t *testing.T) {
	sweep(t, func(*Config) {}, func(c *patient) error {
		return c.p.cache.DigestPages(t.Context(), digest.BLAKE3, nil, c.ids, make([]digest.Digest, 2*len(c.ids)))
	})
}

func TestFaultsOfComparisons(t *testing.T) {
	sweep(t, func(*Config) {}, func(c *patient) error {
		_, _, err := c.p.cache.ComparePages(t.Context(), digest.BLAKE3, nil, c.ids, make([]digest.Digest, 2*len(c.ids)), nil, nil)
		return err
	})
}

func TestFaultsOfOpening(t *testing.T) {
	sweep(t, func(*Config) {}, func(c *patient) error {
		p, err := New(c.config())
		if err != nil {
			return err
		}
		err = p.Close()
		c.gone(p.Close())
		return err
	})
}

func TestFaultsOfClosing(t *testing.T) {
	sweep(t, func(*Config) {}, func(c *patient) error { return c.p.Close() })
}
