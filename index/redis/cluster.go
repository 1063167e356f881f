package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// census is what a cluster knows of workers, in the slot that has no scope.
type census struct {
	dead         []string
	incarnations rueidis.RedisMessage
	lives        []string // of the workers that were asked for
	seq          string   // of what no scope counts
	bare         []string // those of them without a lease
}

func (x *Index) census(ctx context.Context, op string, workers ...string) (census, error) {
	m, err := x.run(ctx, op, &request{workersScript, "*", x.args(0, workers...)})
	if err != nil {
		return census{}, err
	}
	l, err := list(&m, 5)
	if err != nil {
		return census{}, err
	}
	c := census{incarnations: l[1]}
	if c.dead, err = texts(&l[0]); err != nil {
		return c, err
	}
	if c.lives, err = texts(&l[2]); err != nil {
		return c, err
	}
	if c.bare, err = texts(&l[4]); err != nil {
		return c, err
	}
	if c.seq, err = l[3].ToString(); err != nil || len(c.lives) != len(workers) {
		return c, corrupt(op, "reply of a script")
	}
	x.noticed(c.dead)
	return c, nil
}

func (x *Index) deadCluster(ctx context.Context, op string) ([]string, error) {
	// One name keeps the incarnations out of the answer.
	c, err := x.census(ctx, op, "")
	return c.dead, err
}

// putCluster puts records, each scope in a step of its own. Scopes and workers
// are known before records of them are put, so that who looks for records never
// misses a scope.
func (x *Index) putCluster(ctx context.Context, rs []index.Record) error {
	byScope := map[string][]index.Record{}
	var workers []string
	seen := map[string]bool{}
	introduce := x.args(0)
	for i := range rs {
		id := x.scope(&rs[i].Scope)
		byScope[id.digest] = append(byScope[id.digest], rs[i])
		if !seen[rs[i].Worker] {
			seen[rs[i].Worker] = true
			workers = append(workers, rs[i].Worker)
		}
		if !x.known.has(id.digest, rs[i].Worker) {
			introduce = append(introduce, id.digest, id.stored, rs[i].Worker)
		}
	}
	if err := x.introduce(ctx, introduce); err != nil {
		return err
	}
	lives, err := x.livesOf(ctx, workers)
	if err != nil {
		return err
	}
	var requests []request
	for digest, part := range byScope {
		requests = append(requests, request{x.put, digest, x.putArgs(part, lives)})
	}
	_, err = x.runAll(ctx, "put", append(requests, x.numbering()))
	if err != nil && len(requests) > 1 {
		return fmt.Errorf("%w (each of %d scopes is put or not)", err, len(requests))
	}
	return err
}

// numbering counts a change of a cluster.
func (x *Index) numbering() request { return request{countScript, "*", x.args(0)} }

// numbered counts a change of a cluster that removed records. Nothing depends on
// the number there but Metrics.
func (x *Index) numbered(ctx context.Context, op string, removed int, err error) error {
	if x.single || err != nil || removed == 0 {
		return err
	}
	r := x.numbering()
	_, err = x.run(ctx, op, &r)
	return err
}

// introduce makes scopes and workers known.
func (x *Index) introduce(ctx context.Context, args []string) error {
	if len(args) == 3 {
		return nil
	}
	// This is no change of the index: to lose the answer does no harm.
	if _, err := x.run(ctx, "put", &request{scopesScript, "*", args}); err != nil {
		return err
	}
	for i := 3; i < len(args); i += 3 {
		x.known.add(args[i], args[i+2])
	}
	return nil
}

// livesOf returns the lives of workers, after those whose lease ran out are
// cleaned up after, and those that others have cleaned up after have a lease again
// if it is renewed here.
func (x *Index) livesOf(ctx context.Context, workers []string) (map[string]string, error) {
	for range attempts {
		c, err := x.census(ctx, "put", workers...)
		if err != nil {
			return nil, err
		}
		lives := make(map[string]string, len(workers))
		for i, w := range workers {
			lives[w] = c.lives[i]
		}
		clean := true
		for _, w := range c.dead {
			if _, mine := lives[w]; mine {
				clean = false
				if err := x.reap(ctx, w); err != nil {
					return nil, err
				}
			}
		}
		for _, w := range c.bare {
			if x.mustLive(w) == "1" {
				clean = false
				if err := x.renewSome(ctx, []string{w}); err != nil {
					return nil, err
				}
			}
		}
		if clean {
			return lives, nil
		}
	}
	return nil, fmt.Errorf("index/redis: put: leases run out faster than they can be cleaned up after: %w", kvferry.ErrExpired)
}

func (x *Index) removeCluster(ctx context.Context, rs []index.Removal) (int, error) {
	byScope := map[string][]string{}
	groups := map[string][]string{}
	for i := range rs {
		if checkScope(&rs[i].Scope) != nil {
			continue
		}
		id := x.scope(&rs[i].Scope)
		digests := []string{id.digest}
		if rs[i].AnyAdapter {
			var err error
			if digests, err = x.adapters(ctx, groups, id.group); err != nil {
				return 0, err
			}
		}
		for _, d := range digests {
			if byScope[d] == nil {
				byScope[d] = x.args(7 * len(rs))
			}
			byScope[d] = removalArgs(byScope[d], &rs[i], d, id)
		}
	}
	var requests []request
	for d, args := range byScope {
		requests = append(requests, request{removeScript, d, args})
	}
	replies, err := x.runAll(ctx, "remove", requests)
	total := 0
	for i := range replies {
		n, bad := number(&replies[i])
		if bad == nil {
			total += n
		} else if err == nil {
			err = bad
		}
	}
	return total, x.numbered(ctx, "remove", total, err)
}

// adapters returns the scopes of a group, which differ in the adapter alone.
func (x *Index) adapters(ctx context.Context, seen map[string][]string, group string) ([]string, error) {
	if d, ok := seen[group]; ok {
		return d, nil
	}
	d, err := x.members(ctx, "remove", "a"+group)
	seen[group] = d
	return d, err
}

// members returns a set of the slot that has no scope.
func (x *Index) members(ctx context.Context, op, name string) ([]string, error) {
	m, err := x.send(ctx, op, func() rueidis.Completed { return x.client.B().Smembers().Key(x.base("*") + name).Build() })
	if err != nil {
		return nil, err
	}
	return texts(&m)
}

func (x *Index) byHashCluster(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	ids, err := x.allScopes(ctx, "by hash")
	if err != nil {
		return dst, err
	}
	dead, err := x.deadCluster(ctx, "by hash")
	if err != nil {
		return dst, err
	}
	requests := make([]request, len(ids))
	for i, id := range ids {
		requests[i] = request{readScript, id.digest, x.args(0, id.digest, escaped(hash))}
	}
	replies, err := x.runAll(ctx, "by hash", requests)
	if err != nil {
		return dst, err
	}
	for i, id := range ids {
		a := asked{dead: dead}
		if err := x.answered(&replies[i], &a); err != nil {
			return dst, err
		}
		if len(a.parts) != 1 {
			return dst, corrupt("by hash", "reply of a script")
		}
		block, err := text(&a.parts[0])
		if err != nil {
			return dst, err
		}
		if dst, err = x.block(&id.Scope, hash, block, dst, func(r *index.Record) bool { return a.lives(r.Worker) }); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (x *Index) statsCluster(ctx context.Context, op string) (*stats, error) {
	c, err := x.census(ctx, op)
	if err != nil {
		return nil, err
	}
	s := &stats{workers: map[string]*tally{}}
	if s.seq, err = strconv.ParseUint(c.seq, 10, 64); err != nil {
		return nil, corrupt(op, "number of the newest change")
	}
	if err := s.addTo(&c.incarnations, func(t *tally) *uint64 { return &t.incarnation }); err != nil {
		return nil, err
	}
	ids, err := x.allScopes(ctx, op)
	if err != nil {
		return nil, err
	}
	requests := make([]request, len(ids))
	for i, id := range ids {
		requests[i] = request{statsScript, id.digest, x.args(0, id.digest)}
	}
	replies, err := x.runAll(ctx, op, requests)
	if err != nil {
		return nil, err
	}
	for i := range replies {
		l, err := list(&replies[i], 1)
		if err != nil {
			return nil, err
		}
		if err := s.add(l[1:]); err != nil {
			return nil, err
		}
	}
	for _, w := range c.dead {
		delete(s.workers, w)
	}
	return s, nil
}
