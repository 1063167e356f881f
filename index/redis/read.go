package redis

import (
	"context"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

// scanAtOnce is how many blocks one run of a script reads.
const scanAtOnce = 4096

// asked is the answer of a reading script: its elements behind the workers whose
// lease ran out, which the caller leaves out.
type asked struct {
	parts []rueidis.RedisMessage
	dead  []string
}

// lives reports whether a record's worker has not lost its lease.
func (a *asked) lives(worker string) bool {
	return len(a.dead) == 0 || !slices.Contains(a.dead, worker)
}

// ask runs a reading script. In a cluster leases are looked at before: what is
// read later is at least as new.
func (x *Index) ask(ctx context.Context, op string, r *request) (asked, error) {
	var a asked
	if !x.single {
		var err error
		if a.dead, err = x.deadCluster(ctx, op); err != nil {
			return a, err
		}
	}
	m, err := x.run(ctx, op, r)
	if err != nil {
		return a, err
	}
	return a, x.answered(&m, &a)
}

// answered takes an answer apart.
func (x *Index) answered(m *rueidis.RedisMessage, a *asked) error {
	l, err := list(m, 1)
	if err != nil {
		return err
	}
	if x.single {
		if a.dead, err = texts(&l[0]); err != nil {
			return err
		}
	}
	a.parts = l[1:]
	x.noticed(a.dead)
	return nil
}

// Locate implements index.Reader.
func (x *Index) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.leave()
	x.count.locates.Add(1)
	want := index.Record{Key: *k, Tier: index.HBM}
	if want.Check() != nil {
		return dst, nil
	}
	id := x.scope(&k.Scope)
	read := x.readBlock
	if x.o.AllowStaleReads {
		read = x.cachedBlock
	}
	block, a, err := read(ctx, id, k.Hash)
	if err != nil {
		return dst, err
	}
	key := x.o.Rules.Key(*k)
	out, err := x.block(&id.Scope, k.Hash, block, dst, func(r *index.Record) bool {
		return x.o.Rules.Key(r.Key) == key && a.lives(r.Worker)
	})
	return ordered(out, len(dst), err)
}

// readBlock returns a block, or "".
func (x *Index) readBlock(ctx context.Context, id *scopeID, hash string) (string, asked, error) {
	a, err := x.ask(ctx, "locate", &request{readScript, id.digest, x.args(0, id.digest, escaped(hash))})
	if err == nil && len(a.parts) != 1 {
		err = corrupt("locate", "reply of a script")
	}
	if err != nil {
		return "", a, err
	}
	block, err := text(&a.parts[0])
	return block, a, err
}

// Scan implements index.Reader. Up to 4096 blocks are read at once, further ones
// in steps behind.
func (x *Index) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.leave()
	x.count.scans.Add(1)
	if checkScope(s) != nil || len(prefix) > index.MaxFieldBytes {
		return dst, nil
	}
	id := x.scope(s)
	a, err := x.ask(ctx, "scan", scanRequest(x, id, prefix))
	if err != nil {
		return dst, err
	}
	out, err := x.scanned(ctx, id, prefix, &a, dst)
	return ordered(out, len(dst), err)
}

func scanRequest(x *Index, id *scopeID, prefix string) *request {
	return &request{scanScript, id.digest, x.args(0, id.digest, escaped(prefix), strconv.Itoa(scanAtOnce))}
}

// scanned reads the answer of the script, and what that left for later.
func (x *Index) scanned(ctx context.Context, id *scopeID, prefix string, a *asked, dst []index.Record) ([]index.Record, error) {
	if len(a.parts)%2 != 1 {
		return dst, corrupt("scan", "reply of a script")
	}
	rest, err := texts(&a.parts[0])
	if err != nil {
		return dst, err
	}
	for i := 1; i < len(a.parts); i += 2 {
		hash, err := a.parts[i].ToString()
		if err != nil {
			return dst, corrupt("scan", "hash of a block")
		}
		if dst, err = x.child(a, id, prefix, hash, &a.parts[i+1], dst); err != nil {
			return dst, err
		}
	}
	for len(rest) > 0 {
		n := portion(len(rest), scanAtOnce, sizeOf(rest))
		b, err := x.ask(ctx, "scan", &request{readScript, id.digest, append(x.args(1+n, id.digest), rest[:n]...)})
		if err == nil && len(b.parts) != n {
			err = corrupt("scan", "reply of a script")
		}
		for i := 0; i < n && err == nil; i++ {
			dst, err = x.child(&b, id, prefix, rest[i], &b.parts[i], dst)
		}
		if err != nil {
			return dst, err
		}
		rest = rest[n:]
	}
	return dst, nil
}

// child appends the records of a block with that parent.
func (x *Index) child(a *asked, id *scopeID, prefix, hash string, m *rueidis.RedisMessage, dst []index.Record) ([]index.Record, error) {
	block, err := text(m)
	if err != nil {
		return dst, err
	}
	if hash, err = name(hash); err != nil {
		return dst, err
	}
	return x.block(&id.Scope, hash, block, dst, func(r *index.Record) bool { return r.Prefix == prefix && a.lives(r.Worker) })
}

// ByHash implements index.Reader. It looks into every scope: on a single server into
// some thousand at once, in a cluster into each by itself.
func (x *Index) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.leave()
	if len(hash) > index.MaxFieldBytes {
		return dst, nil
	}
	read := x.byHash
	if !x.single {
		read = x.byHashCluster
	}
	out, err := read(ctx, hash, dst)
	return ordered(out, len(dst), err)
}

func (x *Index) byHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	for cursor := "0"; ; {
		a, err := x.ask(ctx, "by hash", &request{byHashScript, "*", x.args(0, escaped(hash), cursor)})
		if err != nil {
			return dst, err
		}
		if len(a.parts)%2 != 1 {
			return dst, corrupt("by hash", "reply of a script")
		}
		if cursor, err = a.parts[0].ToString(); err != nil {
			return dst, corrupt("by hash", "cursor")
		}
		for i := 1; i < len(a.parts); i += 2 {
			if dst, err = x.inScope(&a, i, hash, dst); err != nil {
				return dst, err
			}
		}
		if cursor == "0" {
			return dst, nil
		}
	}
}

// inScope appends the records of a block behind its scope.
func (x *Index) inScope(a *asked, i int, hash string, dst []index.Record) ([]index.Record, error) {
	stored, err := a.parts[i].ToString()
	if err != nil {
		return dst, corrupt("by hash", "scope")
	}
	id, err := scopeOf(stored, "")
	if err != nil {
		return dst, err
	}
	block, err := text(&a.parts[i+1])
	if err != nil {
		return dst, err
	}
	return x.block(&id.Scope, hash, block, dst, func(r *index.Record) bool { return a.lives(r.Worker) })
}

// ordered sorts what was appended. On an error nothing was.
func ordered(dst []index.Record, from int, err error) ([]index.Record, error) {
	if err != nil {
		return dst[:from], err
	}
	index.Sort(dst[from:])
	return dst, nil
}
