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
	_, err := x.announced(ctx, worker, announcement{number: strconv.FormatUint(incarnation, 10)})
	return err
}

// Join implements index.Joiner.
func (x *Index) Join(ctx context.Context, worker string, was, incarnation uint64) (uint64, error) {
	holds, err := x.announced(ctx, worker, announcement{strconv.FormatUint(incarnation, 10), strconv.FormatUint(was, 10)})
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(holds, 10, 64)
	if err != nil {
		return 0, corrupt("join", "incarnation of a worker")
	}
	return n, nil
}

// announcement is what is announced: an incarnation, and the one that ended if the
// worker is joined; else was is "".
type announcement struct{ number, was string }

func (x *Index) announced(ctx context.Context, worker string, a announcement) (string, error) {
	if a.number == "0" || len(worker) > index.MaxFieldBytes {
		return "", fmt.Errorf("index/redis: announce incarnation %s of a worker with %d bytes of name: %w", a.number, len(worker), kvferry.ErrInvalid)
	}
	if err := x.enter(ctx); err != nil {
		return "", err
	}
	defer x.leave()
	holds, err := x.announce(ctx, worker, a)
	if err == nil {
		x.leases.hold(worker, holds)
	}
	return holds, err
}

// announce returns the incarnation that holds.
func (x *Index) announce(ctx context.Context, worker string, a announcement) (holds string, err error) {
	var n int
	if x.single {
		n, holds, err = x.announceSingle(ctx, worker, a)
	} else {
		n, holds, err = x.announceCluster(ctx, worker, a)
	}
	x.count.cleared.Add(uint64(n))
	return holds, err
}

func (x *Index) announceSingle(ctx context.Context, worker string, a announcement) (int, string, error) {
	args := x.args(5, worker, a.number, x.leaseMillis(), strconv.Itoa(step))
	if a.was != "" {
		args = append(args, a.was)
	}
	for total := 0; ; {
		m, err := x.run(ctx, "announce", &request{announceScript, "*", args})
		if err != nil {
			return total, "", err
		}
		n, ended, err := steps(&m)
		total += n
		if err != nil || !ended {
			if err != nil {
				return total, "", err
			}
			continue
		}
		l, err := list(&m, 3)
		if err != nil {
			return total, "", err
		}
		holds, err := l[2].ToString()
		if err != nil {
			return total, "", corrupt("announce", "incarnation of a worker")
		}
		return total, holds, nil
	}
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
