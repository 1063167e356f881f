package events

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// rankMark stands between an engine's name and the number of a further rank.
const rankMark = "/dp"

// WorkerName returns the worker that a data-parallel rank of an engine is: the
// first rank, or that of an engine without ranks, is the engine's name, and
// others have "/dpN" behind it.
func WorkerName(engine string, rank int) string {
	if rank <= 0 {
		return engine
	}
	return engine + rankMark + strconv.Itoa(rank)
}

// CheckName returns ErrInvalid for an engine's name that is the WorkerName of
// another's further rank: what the two hold could not be told apart.
func CheckName(engine string) error {
	at := strings.LastIndex(engine, rankMark)
	if at < 0 {
		return nil
	}
	n, _ := strconv.Atoi(engine[at+len(rankMark):]) // 0 for what is no number
	if n <= 0 || WorkerName(engine[:at], n) != engine {
		return nil
	}
	return fmt.Errorf("events: the engine %q is named as rank %d of %q is; call it otherwise: %w", engine, n, engine[:at], kvferry.ErrInvalid)
}

// life tells the index that a worker lives, or joins the life that it has there.
// was is the incarnation whose end was seen; 0: none was.
func (in *Ingester) life(ctx context.Context, w *worker, was uint64) (held uint64, err error) {
	held = in.incarnation
	if in.joiner != nil {
		held, err = in.joiner.Join(ctx, w.name, was, in.incarnation)
	} else {
		err = in.x.Announce(ctx, w.name, in.incarnation)
	}
	if err != nil {
		return 0, fmt.Errorf("events: announcing %s: %w", w.name, err)
	}
	return held, nil
}

// meetWorker announces a rank that is heard of for the first time. Where it lives
// already somebody else follows it, or did a moment ago. What it has there stays,
// unless this engine was followed from its beginning: then it is of another life.
func (in *Ingester) meetWorker(ctx context.Context, w *worker) (err error) {
	if in.incarnation == 0 {
		return nil
	}
	if w.held, err = in.life(ctx, w, 0); err != nil || w.held == in.incarnation || in.late {
		return err
	}
	return in.clear(ctx, w)
}

// restart begins another incarnation: what the engine had is gone. Where several
// follow it, who sees that first takes it away. After an error it may be tried again.
func (in *Ingester) restart(ctx context.Context, incarnation uint64) error {
	in.puts, in.removals = in.puts[:0], in.removals[:0]
	in.incarnation, in.late = incarnation, false
	for _, w := range in.workers {
		if w.told == incarnation {
			continue
		}
		if in.joiner == nil {
			if err := in.clear(ctx, w); err != nil {
				return err
			}
		}
		held, err := in.life(ctx, w, w.held)
		if err == nil && in.joiner != nil && held == incarnation {
			err = in.clear(ctx, w) // what is not volatile, too
		}
		if err != nil {
			return err
		}
		w.reset()
		w.held, w.told = held, incarnation
	}
	return nil
}

// leave lets go of the workers, whom others may keep alive.
func (in *Ingester) leave() {
	if in.joiner == nil {
		return
	}
	for _, w := range in.workers {
		in.joiner.Leave(w.name)
	}
}

// rejoin takes part again in the lives of workers that were left, and reports
// whether one has ended meanwhile: then nothing is known of it any more.
func (in *Ingester) rejoin(ctx context.Context, incarnation uint64) (ended bool, err error) {
	in.incarnation = incarnation
	for _, w := range in.workers {
		held, err := in.life(ctx, w, 0)
		if err != nil {
			return ended, err
		}
		if held != w.held {
			w.reset()
			w.held, ended = held, true
		}
	}
	return ended, nil
}

// lapse forgets what was put of workers whose leases ran out, and reports whether
// one of them is the engine's.
func (in *Ingester) lapse(ctx context.Context, workers []string) (ours bool, err error) {
	for _, w := range in.workers {
		if !slices.Contains(workers, w.name) {
			continue
		}
		if err := in.Flush(ctx); err != nil {
			return ours, err
		}
		w.reset()
		ours = true
	}
	return ours, nil
}

// Follower is who feeds an index: a Subscriber or an Intake.
type Follower interface {
	// Lapsed tells that the leases of workers ran out and that what they had is gone.
	Lapsed(ctx context.Context, workers []string) error
}

// FollowLeases tells those who feed an index when leases ran out there, until ctx
// ends. An index without leases has nothing to tell.
func FollowLeases(ctx context.Context, x index.Index, to ...Follower) error {
	j, ok := x.(index.Joiner)
	if !ok {
		return nil
	}
	for {
		workers, err := j.Lapsed(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was asked to end
		case err != nil:
			return fmt.Errorf("events: following leases: %w", err)
		}
		eg, all := errgroup.WithContext(ctx)
		for _, f := range to {
			eg.Go(func() error { return f.Lapsed(all, workers) })
		}
		if err := eg.Wait(); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
