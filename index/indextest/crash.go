package indextest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

var crashTests = []test{
	{name: "what was flushed is there after a crash", crashes: true, run: testCrash},
	{name: "crash after crash", crashes: true, run: testCrashOften},
}

func (s *subject) crash() {
	s.Helper()
	s.Index = s.config.Crash(s.T, s.Index, s.options)
	require.NotNil(s, s.Index)
}

func testCrash(s *subject) {
	for i := range 4 {
		require.NoError(s, crashRun(s.T, s.config, s.options, runSeed(s, uint64(i))))
	}
}

// crashRun makes changes and flushes in the midst of them. What is there after the
// crash, of records in every tier, incarnations and counts, is what was there
// behind the Flush or behind one of the later changes.
func crashRun(t *testing.T, c Config, o index.Options, seed uint64) error {
	t.Helper()
	ctx := t.Context()
	u, m, x := newUniverse(seed), NewModel(o), c.Open(t, o)
	var states []*Model
	for n := range 120 {
		write := u.write()
		want, got := write.apply(ctx, m), write.apply(ctx, x)
		if err := same(&want, &got); err != nil {
			return fmt.Errorf("%v: %w", write, err)
		}
		if n == 80 {
			if err := x.Flush(ctx); err != nil {
				return err
			}
			states = nil
		}
		states = append(states, m.clone())
	}
	before, err := x.Metrics(ctx)
	if err != nil {
		return err
	}
	x = c.Crash(t, x, o)
	defer func() { require.NoError(t, x.Close()) }()
	return oneOf(ctx, states, x, before.Seq)
}

// oneOf requires that an index that was opened is what one of some models is after
// an opening, also when it has heard again of its workers.
func oneOf(ctx context.Context, states []*Model, x index.Index, newest uint64) error {
	opened, err := seenOf(ctx, x)
	if err != nil {
		return err
	}
	if opened.metrics.Seq < newest {
		return fmt.Errorf("the newest change has the number %d, the one before the crash %d", opened.metrics.Seq, newest)
	}
	known, err := announced(ctx, x)
	if err != nil {
		return err
	}
	why := errors.New("no state to compare with")
	for _, m := range states {
		m.Reopen()
		if why = opened.like(ctx, m); why != nil {
			continue
		}
		again, err := announced(ctx, m)
		if err != nil {
			return err
		}
		if why = sameRecords(again, known); why == nil {
			return nil
		}
	}
	return fmt.Errorf("what is there after a crash is none of the states since the latest Flush; the last: %w", why)
}

// seen is what an index shows that was just opened.
type seen struct {
	records []index.Record
	workers []index.Worker
	metrics index.Metrics
}

func seenOf(ctx context.Context, x index.Index) (s seen, err error) {
	s.records, err = snapshot(ctx, x)
	if err == nil {
		s.workers, err = x.Workers(ctx)
	}
	if err == nil {
		s.metrics, err = x.Metrics(ctx)
	}
	return s, err
}

// like returns what tells s from what a model shows.
func (s *seen) like(ctx context.Context, m *Model) error {
	want, err := seenOf(ctx, m)
	if err != nil {
		return err
	}
	if err := sameRecords(want.records, s.records); err != nil {
		return err
	}
	if w, g := s.counts(&want.metrics), s.counts(&s.metrics); w != g {
		return fmt.Errorf("blocks, bytes and stale blocks: want %v, got %v", w, g)
	}
	known := func(ws []index.Worker) (out []index.Worker) {
		for _, w := range ws {
			w.Stale = false // what is so is counted
			out = append(out, w)
		}
		return out
	}
	if w, g := known(want.workers), known(s.workers); !slices.Equal(w, g) {
		return fmt.Errorf("workers: want %v, got %v", w, g)
	}
	return nil
}

func (*seen) counts(m *index.Metrics) [3]uint64 {
	return [3]uint64{m.ResidentBlocks, m.ResidentBytes, m.StaleBlocks}
}

// announced announces each worker with the incarnation that is known of it, and
// returns the records then.
func announced(ctx context.Context, x index.Index) ([]index.Record, error) {
	ws, err := x.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		if w.Incarnation == 0 {
			continue
		}
		if err := x.Announce(ctx, w.Name, w.Incarnation); err != nil {
			return nil, err
		}
	}
	return snapshot(ctx, x)
}

func testCrashOften(s *subject) {
	var rs []index.Record
	for i := range 8 {
		r := with(block(index.Root, fmt.Sprint("b", i), "w", index.LocalSSD), func(r *index.Record) { r.Index = uint32(i) })
		rs = append(rs, r)
		s.put(r)
		require.NoError(s, s.Flush(s.Context()))
		if i == 5 {
			require.Equal(s, 1, s.remove(removalOf(&rs[0])))
			require.NoError(s, s.Flush(s.Context()))
			rs = rs[1:]
		}
		s.crash()
		s.holds(rs...)
	}
}
