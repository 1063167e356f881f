package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// renewals is how often a lease is renewed while it lasts.
	renewals = 3
	// renewAtOnce is how many leases one run of the script renews.
	renewAtOnce = 4096
)

// leases are those of the workers that an Index announced.
type leases struct {
	mu sync.Mutex
	of map[string]lease
}

// lease is that of one worker. One that is not held is left to run out: the worker
// was cleared. Its next Put has to take it again first.
type lease struct {
	number string // the incarnation
	held   bool
}

func (l *leases) hold(worker, number string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]lease{}
	}
	l.of[worker] = lease{number, true}
}

func (l *leases) release(worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of, ok := l.of[worker]; ok {
		l.of[worker] = lease{of.number, false}
	}
}

func (l *leases) holds(worker string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[worker].held
}

// number returns the worker's incarnation.
func (l *leases) number(worker string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[worker].number
}

// held returns the workers whose leases are held.
func (l *leases) held() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ws []string
	for w, of := range l.of {
		if of.held {
			ws = append(ws, w)
		}
	}
	return ws
}

// released appends the workers of records that were announced and are not held.
func (l *leases) released(rs []index.Record) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ws []string
	for i := range rs {
		w := rs[i].Worker
		if i > 0 && w == rs[i-1].Worker {
			continue
		}
		if of, ok := l.of[w]; ok && !of.held && !slices.Contains(ws, w) {
			ws = append(ws, w)
		}
	}
	return ws
}

// Leave implements index.Joiner.
func (x *Index) Leave(worker string) { x.leases.release(worker) }

// lapses are workers whose leases ran out, and whose owner was not told yet: no
// more than have leases here.
type lapses struct {
	mu      sync.Mutex
	workers map[string]struct{}
	some    chan struct{} // has one when there are some
}

func (l *lapses) add(worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.workers == nil {
		l.workers = map[string]struct{}{}
	}
	l.workers[worker] = struct{}{}
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// take returns those that there are, in order.
func (l *lapses) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ws := slices.Sorted(maps.Keys(l.workers))
	clear(l.workers)
	return ws
}

// Lapsed implements index.Joiner.
func (x *Index) Lapsed(ctx context.Context) ([]string, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("index/redis: lapsed: %w", ctx.Err())
		case <-x.done.Done():
			return nil, fmt.Errorf("index/redis: lapsed: %w", kvferry.ErrClosed)
		case <-x.lapses.some:
		}
		if ws := x.lapses.take(); len(ws) > 0 {
			return ws, nil
		}
	}
}

// renews says whether this Index renews leases.
func (x *Index) renews() bool { return x.o.Renew && x.o.Lease > 0 }

// ensureLeases takes leases again that are not held, before records are put:
// without one these would outlive the worker.
func (x *Index) ensureLeases(ctx context.Context, rs []index.Record) error {
	if !x.renews() {
		return nil
	}
	ws := x.leases.released(rs)
	if len(ws) == 0 {
		return nil
	}
	if err := x.renewSome(ctx, ws); err != nil {
		return err
	}
	for _, w := range ws {
		x.leases.hold(w, x.leases.number(w))
	}
	return nil
}

// renew renews the leases of the workers that this Index announced.
func (x *Index) renew() {
	t := time.NewTicker(max(time.Millisecond, x.o.Lease/renewals))
	defer t.Stop()
	for {
		select {
		case <-x.done.Done():
			return
		case <-t.C:
		}
		for ws := range slices.Chunk(x.leases.held(), renewAtOnce) {
			// A server that is away is asked again next time.
			_ = x.renewSome(x.done, ws)
		}
	}
}

// renewSome renews leases, and begins again those that ran out: whatever the
// worker had then is gone, but what it has from now on has a lease.
func (x *Index) renewSome(ctx context.Context, workers []string) error {
	m, err := x.run(ctx, "renew", &request{renewScript, "*", x.args(0, append([]string{x.leaseMillis()}, workers...)...)})
	if err != nil {
		return err
	}
	lapsed, err := texts(&m)
	if err != nil {
		return err
	}
	return x.beginAgain(ctx, lapsed)
}

// beginAgain begins leases again that ran out, unless somebody else was faster, in
// whatever incarnation: what that has put stays.
func (x *Index) beginAgain(ctx context.Context, lapsed []string) error {
	var errs []error
	for _, w := range lapsed {
		number := x.leases.number(w)
		_, err := x.announce(ctx, w, announcement{number: number, was: number})
		if err == nil && x.leases.holds(w) {
			x.lapses.add(w)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
