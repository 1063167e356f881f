package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// leaseMillis is the lease as scripts take it.
func (x *Index) leaseMillis() string {
	if x.o.Lease == NoLease {
		return "0"
	}
	return strconv.FormatInt(x.o.Lease.Milliseconds(), 10)
}

// Announce implements index.Announcer, and begins or renews the worker's lease.
// One whose lease ran out begins anew: what it had is gone, whatever the
// incarnation.
func (x *Index) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if incarnation == 0 || len(worker) > index.MaxFieldBytes {
		return fmt.Errorf("index/redis: announce incarnation %d of a worker with %d bytes of name: %w", incarnation, len(worker), kvferry.ErrInvalid)
	}
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.leave()
	number := strconv.FormatUint(incarnation, 10)
	err := x.announce(ctx, worker, number)
	if err == nil {
		x.leases.hold(worker, number)
	}
	return err
}

func (x *Index) announce(ctx context.Context, worker, number string) error {
	var n int
	var err error
	if x.single {
		n, err = x.repeat(ctx, "announce", &request{announceScript, "*", x.args(0, worker, number, x.leaseMillis(), strconv.Itoa(step))})
	} else {
		n, err = x.announceCluster(ctx, worker, number)
	}
	x.count.cleared.Add(uint64(n))
	return err
}

// noticed hands workers whose lease ran out to the goroutine that cleans up
// after them. If that has enough to do, another reader notices them again.
func (x *Index) noticed(dead []string) {
	for _, w := range dead {
		select {
		case x.dead <- w:
		default:
			return
		}
	}
}

// reapDead removes what dead workers had. It may fail: whoever notices next
// tries again.
func (x *Index) reapDead() {
	for {
		select {
		case <-x.done.Done():
			return
		case w := <-x.dead:
			_ = x.reap(x.done, w)
		}
	}
}

// reapAll removes what workers had whose lease ran out.
func (x *Index) reapAll(ctx context.Context, workers []string) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, x.reap(ctx, w))
	}
	return errors.Join(errs...)
}

func (x *Index) reap(ctx context.Context, worker string) error {
	var n int
	var err error
	if x.single {
		n, err = x.repeat(ctx, "reap", &request{reapScript, "*", x.args(0, worker, strconv.Itoa(step))})
	} else {
		n, err = x.reapCluster(ctx, worker)
	}
	x.count.cleared.Add(uint64(n))
	if err == nil && x.renews() && x.leases.holds(worker) { // it lives, the server was away
		err = x.renewSome(ctx, []string{worker})
	}
	return err
}
