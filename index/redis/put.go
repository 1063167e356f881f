package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// maxPutRecords and maxPutBytes bound one run of the script, for which all
	// others wait. A call with more is several changes.
	maxPutRecords = 8192
	maxPutBytes   = 16 << 20
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
	for done := 0; done < len(rs); {
		n := portion(rs[done:])
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

// portion is how many of the records go in one step.
func portion(rs []index.Record) int {
	size := 0
	for i := range min(len(rs), maxPutRecords) {
		size += headBytes + valueBytes + len(rs[i].Hash) + len(rs[i].Prefix)
		if size > maxPutBytes && i > 0 {
			return i
		}
	}
	return min(len(rs), maxPutRecords)
}

// attempts bounds how often a call begins anew because others were faster.
const attempts = 8

func (x *Index) putSome(ctx context.Context, rs []index.Record) error {
	if !x.single {
		return x.putCluster(ctx, rs)
	}
	for range attempts {
		m, err := x.run(ctx, "put", &request{putScript, "*", x.putArgs(rs, nil)})
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

// putArgs makes the arguments of the script: runs of records with one scope and
// worker, in the order of the records. lives are those of the workers.
func (x *Index) putArgs(rs []index.Record, lives map[string]string) []string {
	const head = headBytes + 2 + inlineMax
	arena, ends := make([]byte, 0, (head+valueBytes)*len(rs)), make([]int, len(rs))
	for i := range rs {
		arena = x.appendHead(arena, &rs[i])
		ends[i] = len(arena)
		arena = appendValue(arena, &rs[i])
	}
	all, from := string(arena), 0
	args := x.args(4*len(rs) + 7)
	for i := 0; i < len(rs); {
		id, first := x.scope(&rs[i].Scope), &rs[i]
		life := lives[first.Worker]
		if life == "" {
			life = "1"
		}
		at := len(args)
		args = append(args, id.digest, id.stored, first.Worker, life, "", "", "")
		n, lo, hi := 0, uint64(0), uint64(0)
		for ; i < len(rs) && (n == 0 || rs[i].Worker == first.Worker && rs[i].Scope == first.Scope); i++ {
			args = append(args, rs[i].Hash, rs[i].Prefix, all[from:ends[i]], all[ends[i]:ends[i]+valueBytes])
			from = ends[i] + valueBytes
			lo, hi, n = lo+rs[i].Bytes&0xffffffff, hi+rs[i].Bytes>>32, n+1
		}
		args[at+4], args[at+5], args[at+6] = strconv.Itoa(n), strconv.FormatUint(lo, 10), strconv.FormatUint(hi, 10)
	}
	return args
}
