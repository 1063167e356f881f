package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// maxPutRecords and maxStepBytes bound one run of a script, for which all
	// others wait. A call with more is several changes.
	maxPutRecords = 8192
	maxStepBytes  = 16 << 20
)

// Put implements index.Writer. On a single server a call with up to 8192 records
// is one step; in a cluster each scope is.
func (x *Index) Put(ctx context.Context, rs []index.Record) error {
	for i := range rs {
		if err := rs[i].Check(); err != nil {
			return fmt.Errorf("index/redis: put: %w", err)
		}
	}
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.leave()
	if err := x.ensureLeases(ctx, rs); err != nil {
		return err
	}
	for done := 0; done < len(rs); {
		n := portion(len(rs)-done, maxPutRecords, putSize(rs[done:]))
		err := x.putSome(ctx, rs[done:done+n])
		if err != nil {
			if done > 0 {
				err = fmt.Errorf("%w (the first %d records are put)", err, done)
			}
			return err
		}
		done += n
		x.count.puts.Add(uint64(n))
	}
	return nil
}

// portion is how many of n things go in one step: at least one, and no more than
// most or than about maxStepBytes.
func portion(n, most int, size func(i int) int) int {
	sum := 0
	for i := range min(n, most) {
		if sum += size(i); sum > maxStepBytes && i > 0 {
			return i
		}
	}
	return min(n, most)
}

// putSize is how many bytes a record takes in a command.
func putSize(rs []index.Record) func(i int) int {
	return func(i int) int {
		r := &rs[i]
		n := 2*headBytes + valueBytes + len(r.Hash) + len(r.Prefix) + len(r.Worker)
		if i == 0 || r.Worker != rs[i-1].Worker || r.Scope != rs[i-1].Scope {
			n += scopeSize(&r.Scope)
		}
		return n
	}
}

func scopeSize(s *index.Scope) int {
	name, _ := s.Adapter.Name()
	return 2*digestLen + len(s.Model) + len(s.Tokenizer) + len(name) + len(s.Tenant)
}

func sizeOf(list []string) func(i int) int { return func(i int) int { return len(list[i]) } }

// attempts bounds how often a call begins anew because others were faster.
const attempts = 8

func (x *Index) putSome(ctx context.Context, rs []index.Record) error {
	if !x.single {
		return x.putCluster(ctx, rs)
	}
	for range attempts {
		m, err := x.run(ctx, "put", &request{x.put, "*", x.putArgs(rs, nil)})
		if err != nil {
			return err
		}
		dead, err := texts(&m)
		if err != nil {
			return err
		}
		if len(dead) == 0 {
			return nil
		}
		// What these workers had before does not come back with their new records.
		if err := x.reapAll(ctx, dead); err != nil {
			return err
		}
	}
	return fmt.Errorf("index/redis: put: leases run out faster than they can be cleaned up after: %w", kvferry.ErrExpired)
}

// mustLive tells whether a lease of the worker has to be there.
func (x *Index) mustLive(worker string) string {
	if x.renews() && x.leases.holds(worker) {
		return "1"
	}
	return "0"
}

// putArgs makes the arguments of the script: runs of records with one scope and
// worker, in the order of the records. lives are those of the workers.
func (x *Index) putArgs(rs []index.Record, lives map[string]string) []string {
	const size = 2 + headBytes + 2 + valueBytes
	arena, ends := make([]byte, 0, (size+16)*len(rs)), make([]int, len(rs))
	for i := range rs {
		arena = appendValue(x.appendKey(arena, &rs[i]), &rs[i])
		ends[i] = len(arena)
	}
	all, from := string(arena), 0
	args := x.args(3*len(rs) + 7)
	for i := 0; i < len(rs); {
		id, first := x.scope(&rs[i].Scope), &rs[i]
		life := lives[first.Worker]
		if x.single {
			life = x.mustLive(first.Worker)
		}
		at := len(args)
		args = append(args, id.digest, id.stored, first.Worker, life, "", "", "")
		n, lo, hi := 0, uint64(0), uint64(0)
		for ; i < len(rs) && (n == 0 || rs[i].Worker == first.Worker && rs[i].Scope == first.Scope); i++ {
			args = append(args, escaped(rs[i].Hash), prefixArg(rs, i, n == 0), all[from:ends[i]])
			from = ends[i]
			lo, hi, n = lo+rs[i].Bytes&0xffffffff, hi+rs[i].Bytes>>32, n+1
		}
		args[at+4], args[at+5], args[at+6] = strconv.Itoa(n), strconv.FormatUint(lo, 10), strconv.FormatUint(hi, 10)
	}
	return args
}

// hashBefore stands for a prefix that is the hash of the record before.
const hashBefore = "\xff"

func prefixArg(rs []index.Record, i int, first bool) string {
	if !first && rs[i].Prefix == rs[i-1].Hash {
		return hashBefore
	}
	return escaped(rs[i].Prefix)
}
