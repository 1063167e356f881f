package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// apart is a Memory of its own in host memory. What is stored arrives when
// somebody waits for it or looks.
type apart struct {
	mem, working []byte
	stored       []Range
	fail         string // the call that fails
	closed       int
}

var errApart = errors.New("the memory is gone")

func (a *apart) err(call string) error {
	if a.fail == call {
		return errApart
	}
	return nil
}

func (a *apart) Host() []byte { return a.working }

func (a *apart) arrive() {
	for _, r := range a.stored {
		copy(a.mem[r.Offset:r.Offset+r.Bytes], a.working[r.Offset:])
	}
	a.stored = nil
}

func (a *apart) Load(_ context.Context, ranges []Range) error {
	for _, r := range ranges {
		copy(a.working[r.Offset:r.Offset+r.Bytes], a.mem[r.Offset:])
	}
	return a.err("load")
}

func (a *apart) Store(ranges []Range) error {
	a.stored = slices.Clone(ranges)
	return a.err("store")
}

func (a *apart) Settle(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.arrive()
	return a.err("settle")
}

func (a *apart) Pager(l *pager.Layout, e host.Engine) (pager.Pager, error) {
	if err := a.err("pager"); err != nil {
		return nil, err
	}
	a.arrive()
	var regions [][]byte
	rest := a.mem
	for _, r := range l.Regions {
		regions, rest = append(regions, rest[:r.Bytes:r.Bytes]), rest[r.Bytes:]
	}
	return host.New(host.Config{Layout: l, Regions: regions, Engine: e})
}

func (a *apart) Close() error {
	a.closed++
	return a.err("close")
}

// openApart returns what opens such a memory, and the memory once it is open.
// It is filled with what no step may read.
func openApart() (func(int64) (Memory, error), *apart) {
	a := &apart{}
	return func(bytes int64) (Memory, error) {
		a.mem, a.working = make([]byte, bytes), make([]byte, bytes)
		for i := range a.mem {
			a.mem[i], a.working[i] = 0xff, 0xff // not a number
		}
		return a, a.err("open")
	}, a
}

// TestMemoryApart: with its pages in memory that only copies reach, an engine
// generates what it generates in host memory, and its cache can be taken out
// and put into another such engine.
func TestMemoryApart(t *testing.T) {
	t.Parallel()
	m, rs := seeded(t), story()
	want := alone(t, m, rs)
	for _, cut := range []int{0, 3, 12, 40} {
		open, _ := openApart()
		e := newEngine(t, m, Config{Pages: 64, Memory: open})
		for _, r := range rs {
			require.NoError(t, e.Submit(r))
		}
		for range cut + 1 {
			_, err := e.Step(t.Context())
			require.NoError(t, err)
		}
		s := save(t, e)
		require.Equal(t, want, finishAll(t, e))
		openOther, memory := openApart()
		other := newEngine(t, m, Config{Pages: 64, Memory: openOther})
		load(t, other, s, func() {})
		require.Equal(t, want, finishAll(t, other))
		require.NoError(t, other.Close())
		require.NoError(t, e.Close())
		require.Equal(t, 1, memory.closed)
		_, err := e.Step(t.Context())
		require.ErrorIs(t, err, kvferry.ErrClosed)
	}
}

// TestMemoryThatFails: an error of the memory ends the engine's steps.
func TestMemoryThatFails(t *testing.T) {
	t.Parallel()
	m := seeded(t)
	for _, call := range []string{"settle", "load", "store"} {
		open, a := openApart()
		e := newEngine(t, m, Config{Pages: 64, Memory: open})
		require.NoError(t, e.Submit(story()[0]))
		_, err := e.Step(t.Context())
		require.NoError(t, err)
		a.fail = call
		_, err = e.Step(t.Context())
		require.ErrorIs(t, err, errApart, call)
		a.fail = ""
		_, err = e.Step(t.Context())
		require.ErrorIs(t, err, errApart, "for good")
	}
	open, a := openApart()
	e := newEngine(t, m, Config{Pages: 64, Memory: open})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Step(cancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, e.Submit(story()[0]))
	_, err = e.Step(t.Context())
	require.NoError(t, err, "a context that is done is no fault of the memory")
	a.fail = "close"
	require.ErrorIs(t, e.Close(), errApart)
	a.fail = "pager"
	_, err = e.Pager()
	require.ErrorIs(t, err, errApart)
	a.fail = "open"
	_, err = New(m, Config{Pages: 64, Memory: open})
	require.ErrorIs(t, err, errApart)
	short := func(int64) (Memory, error) { return &apart{working: make([]byte, 5)}, nil }
	_, err = New(m, Config{Pages: 64, Memory: short})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, newEngine(t, m, Config{Pages: 1}).Close(), "host memory has nothing to close")
}
