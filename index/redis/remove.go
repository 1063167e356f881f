package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

const (
	// maxRemovals bounds one run of the script.
	maxRemovals = 4096
	// step is how many blocks one run of a script clears while all others wait:
	// some 20 ms.
	step = 2048
	// atOnce is up to how many records are swept in one run, so that an index that
	// is not large changes at once; and in one step of a larger.
	atOnce = 4096
)

// removalArgs appends a removal; a digest of "" means every adapter.
func removalArgs(args []string, r *index.Removal, digest string, id *scopeID) []string {
	tier, group := "", ""
	if r.Tier != 0 {
		tier = string([]byte{byte(r.Tier)})
	}
	if r.OneGroup {
		group = string(binary.BigEndian.AppendUint32(nil, r.Group))
	}
	return append(args, digest, id.group, id.stored, r.Worker, escaped(r.Hash), tier, group)
}

// Remove implements index.Writer. On a single server up to 4096 removals are one
// step; in a cluster each scope is.
func (x *Index) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.leave()
	total := 0
	for len(rs) > 0 {
		n := portion(len(rs), maxRemovals, func(i int) int { return len(rs[i].Worker) + len(rs[i].Hash) + scopeSize(&rs[i].Scope) })
		removed, err := x.removeSome(ctx, rs[:n])
		total += removed
		x.count.removes.Add(uint64(removed))
		if err != nil {
			return total, err
		}
		rs = rs[n:]
	}
	return total, nil
}

func (x *Index) removeSome(ctx context.Context, rs []index.Removal) (int, error) {
	if !x.single {
		return x.removeCluster(ctx, rs)
	}
	args := x.args(7 * len(rs))
	for i := range rs {
		if checkScope(&rs[i].Scope) != nil {
			continue
		}
		id := x.scope(&rs[i].Scope)
		digest := id.digest
		if rs[i].AnyAdapter {
			digest = ""
		}
		args = removalArgs(args, &rs[i], digest, id)
	}
	m, err := x.run(ctx, "remove", &request{removeScript, "*", args})
	if err != nil {
		return 0, err
	}
	return number(&m)
}

// number reads a count.
func number(m *rueidis.RedisMessage) (int, error) {
	n, err := m.AsInt64()
	if err != nil {
		return 0, corrupt("read", "count of a script")
	}
	return int(n), nil
}

// steps reads a count and whether the call came to its end.
func steps(m *rueidis.RedisMessage) (n int, ended bool, err error) {
	l, err := list(m, 2)
	if err != nil {
		return 0, false, err
	}
	n, err1 := number(&l[0])
	e, err2 := number(&l[1])
	if err1 != nil || err2 != nil {
		return 0, false, corrupt("read", "count of a script")
	}
	return n, e == 1, nil
}

// repeat runs a script until it has come to its end.
func (x *Index) repeat(ctx context.Context, op string, r *request) (int, error) {
	total := 0
	for {
		m, err := x.run(ctx, op, r)
		if err != nil {
			return total, err
		}
		n, ended, err := steps(&m)
		total += n
		if err != nil || ended {
			return total, err
		}
	}
}

// ClearWorker implements index.Writer. A worker with more than 2048 blocks is
// cleared in several steps, for which watchers have to take a snapshot; so it is
// in a cluster, scope by scope. Its lease is renewed again from its next Put on.
func (x *Index) ClearWorker(ctx context.Context, worker string) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.leave()
	x.leases.release(worker)
	var n int
	var err error
	if x.single {
		n, err = x.repeat(ctx, "clear worker", &request{clearWorkerScript, "*", x.args(0, worker, strconv.Itoa(step))})
	} else {
		n, err = x.clearCluster(ctx, "clear worker", worker, "", false)
		err = x.numbered(ctx, "clear worker", n, err)
	}
	x.count.cleared.Add(uint64(n))
	return n, err
}

// Clear implements index.Writer. An index with more than 4096 records is cleared
// in several steps, as a worker is by ClearWorker.
func (x *Index) Clear(ctx context.Context) error {
	n, err := x.sweep(ctx, "clear", "")
	x.count.cleared.Add(uint64(n))
	return err
}

// Expire implements index.Writer. It looks at every record, some thousand at
// once, in steps as Clear does.
func (x *Index) Expire(ctx context.Context, before uint64) (int, error) {
	n, err := x.sweep(ctx, "expire", string(binary.BigEndian.AppendUint64(nil, before)))
	x.count.expired.Add(uint64(n))
	return n, err
}

func (x *Index) sweep(ctx context.Context, op, before string) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.leave()
	if x.single {
		m, err := x.run(ctx, op, &request{sweepScript, "*", x.args(0, before, strconv.Itoa(atOnce), "")})
		if err != nil {
			return 0, err
		}
		if n, err := number(&m); err != nil || n >= 0 {
			return n, err
		}
	}
	ids, err := x.allScopes(ctx, op)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, id := range ids {
		n, err := x.sweepScope(ctx, op, before, id)
		total += n
		if err != nil {
			return total, fmt.Errorf("%w (%d records are gone)", err, total)
		}
	}
	return total, x.numbered(ctx, op, total, nil)
}

// sweepScope sweeps one scope: at once, or in steps if it is large.
func (x *Index) sweepScope(ctx context.Context, op, before string, id *scopeID) (int, error) {
	if !x.single {
		m, err := x.run(ctx, op, &request{sweepScript, id.digest, x.args(0, before, strconv.Itoa(atOnce), id.digest)})
		if err != nil {
			return 0, err
		}
		if n, err := number(&m); err != nil || n >= 0 {
			return n, err
		}
	}
	for total, cursor := 0, "0"; ; {
		m, err := x.run(ctx, op, &request{sweepScript, id.digest, x.args(0, before, strconv.Itoa(atOnce), id.digest, cursor)})
		if err != nil {
			return total, err
		}
		removed, next, err := swept(&m)
		total += removed
		if err != nil || next == "0" {
			return total, err
		}
		cursor = next
	}
}

// swept reads what one step of a sweep did.
func swept(m *rueidis.RedisMessage) (removed int, cursor string, err error) {
	l, err := list(m, 2)
	if err != nil {
		return 0, "", err
	}
	removed, err1 := number(&l[0])
	cursor, err2 := l[1].ToString()
	if errors.Join(err1, err2) != nil {
		return 0, "", corrupt("read", "step of a sweep")
	}
	return removed, cursor, nil
}
