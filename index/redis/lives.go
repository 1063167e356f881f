package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// clearCluster removes a worker's records scope by scope: those of a life, or of
// lives before it, unless it is "".
func (x *Index) clearCluster(ctx context.Context, op, worker, life string, volatile bool) (int, error) {
	digests, err := x.members(ctx, op, "w"+worker)
	if err != nil {
		return 0, err
	}
	which := "0"
	if volatile {
		which = "1"
	}
	total := 0
	for _, d := range digests {
		n, err := x.repeat(ctx, op, &request{clearWorkerScript, d, x.args(0, worker, strconv.Itoa(step), d, life, which)})
		total += n
		if err != nil {
			return total, fmt.Errorf("%w (%d records are gone)", err, total)
		}
	}
	return total, nil
}

// lifeOf is what the cluster knows of one worker.
type lifeOf struct {
	incarnation, life string
	dead              bool
}

func (x *Index) life(ctx context.Context, op, worker string) (lifeOf, error) {
	m, err := x.run(ctx, op, &request{lifeScript, "*", x.args(0, worker)})
	if err != nil {
		return lifeOf{}, err
	}
	l, err := list(&m, 3)
	if err != nil {
		return lifeOf{}, err
	}
	incarnation, err1 := l[0].ToString()
	life, err2 := l[1].ToString()
	dead, err3 := number(&l[2])
	if errors.Join(err1, err2, err3) != nil {
		return lifeOf{}, corrupt(op, "life of a worker")
	}
	return lifeOf{incarnation, life, dead == 1}, nil
}

// announceCluster removes what has to go scope by scope, and then begins another
// life, so that somebody who does the same late cannot remove what is put in it.
func (x *Index) announceCluster(ctx context.Context, worker string, a announcement) (int, string, error) {
	total := 0
	for range attempts {
		l, err := x.life(ctx, "announce", worker)
		if err != nil {
			return total, "", err
		}
		next, number := l.life, a.number
		joins := a.was != "" && !l.dead && l.incarnation != "" && l.incarnation != a.was
		switch {
		case joins:
			number = l.incarnation
		case l.dead || l.incarnation != "" && l.incarnation != number:
			n, err := x.clearCluster(ctx, "announce", worker, l.life, !l.dead)
			total += n
			if err != nil {
				return total, "", err
			}
			if next, err = following(l.life); err != nil {
				return total, "", err
			}
		}
		done, err := x.live(ctx, "announce", worker, &l, next, number, joins)
		if err != nil || done {
			return total, number, err
		}
	}
	return total, "", fmt.Errorf("index/redis: announce %q: others announce it at the same time: %w", worker, ErrUnavailable)
}

// following returns the number of the next life.
func following(life string) (string, error) {
	n, err := strconv.ParseUint(life, 10, 53)
	if err != nil {
		return "", corrupt("announce", "life of a worker")
	}
	return strconv.FormatUint(n+1, 10), nil
}

// live ends the life that was seen, unless somebody else did.
func (x *Index) live(ctx context.Context, op, worker string, seen *lifeOf, life, incarnation string, joins bool) (bool, error) {
	dead, longer := "0", "0"
	if seen.dead {
		dead = "1"
	}
	if joins {
		longer = "1"
	}
	m, err := x.run(ctx, op, &request{liveScript, "*", x.args(0, worker, seen.life, life, incarnation, x.leaseMillis(), dead, longer, seen.incarnation)})
	if err != nil {
		return false, err
	}
	n, err := number(&m)
	return n == 1, err
}

func (x *Index) reapCluster(ctx context.Context, worker string) (int, error) {
	l, err := x.life(ctx, "reap", worker)
	if err != nil || !l.dead {
		return 0, err
	}
	n, err := x.clearCluster(ctx, "reap", worker, l.life, false)
	if err != nil {
		return n, err
	}
	next, err := following(l.life)
	if err != nil {
		return n, err
	}
	_, err = x.live(ctx, "reap", worker, &l, next, "", false)
	return n, err
}
