package crashtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry/index"
)

// Volatile is the worker whose records lie in a volatile tier.
const Volatile = "volatile worker"

// Scenario makes changes of every kind, with records enough that tables are
// written and merged where an index has such, and flushes in between.
type Scenario struct {
	Index  index.Index
	Ledger *Ledger
	// Bulk is how many records are put at once, a few times.
	Bulk int
}

// record returns one, whose version can be told.
func record(hash, worker string, t index.Tier, version uint64) index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t\x00", Tenant: "a"}, Prefix: index.Root, Hash: hash, Tokens: 16},
		Worker: worker, Tier: t, Bytes: version, LastAccess: version,
	}
}

// Run makes all changes, to the first error.
func (s *Scenario) Run() error {
	long := strings.Repeat("x\xff", 300)
	steps := []func() error{
		s.put(record("b0", "w0", index.LocalSSD, 5), record("b1", "w0", index.ObjectStore, 5)),
		s.announce(1), s.put(record("v", Volatile, index.HBM, 1)), s.flush,
		s.put(record("b0", "w0", index.LocalSSD, 6)),
		s.put(record("b2", "w1", index.LocalSSD, 5), record(long, "w1", index.LocalSSD, 5), record("", "", index.LocalSSD, 5)),
		s.bulk(7), s.flush,
		s.remove("b1", "w0"), s.put(record("b1", "w0", index.ObjectStore, 8)), s.put(record(long, "w1", index.LocalSSD, 9)),
		s.announce(2), s.put(record("v", Volatile, index.HBM, 2), record("u", Volatile, index.HBM, 2)), s.bulk(8), s.flush,
		s.clearWorker("w1"), s.put(record("b2", "w1", index.LocalSSD, 10)), s.expire(6), s.flush,
		s.put(record("b3", "w1", index.LocalSSD, 10)), s.remove("b3", "w1"), s.clear, s.bulk(11),
		s.put(record("b0", "w0", index.LocalSSD, 12)), s.flush, s.remove("b0", "w0"), s.Index.Close,
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// do makes one change.
func (s *Scenario) do(c change, call func() error) error {
	s.Ledger.begin(c)
	if err := call(); err != nil {
		return err
	}
	s.Ledger.end(c)
	return nil
}

func (s *Scenario) put(rs ...index.Record) func() error {
	return func() error {
		c := change{}
		for i := range rs {
			c[of(&rs[i])] = rs[i]
		}
		return s.do(c, func() error { return s.Index.Put(context.Background(), rs) })
	}
}

func (s *Scenario) bulk(version uint64) func() error {
	rs := make([]index.Record, s.Bulk)
	for i := range rs {
		rs[i] = record(fmt.Sprintf("bulk %d %s", i, strings.Repeat("x", 100)), fmt.Sprintf("w%d", i%3), index.LocalSSD, version)
	}
	return s.put(rs...)
}

// gone is the change that removes what is there of which.
func (s *Scenario) gone(which func(r *index.Record) bool) change {
	s.Ledger.mu.Lock()
	defer s.Ledger.mu.Unlock()
	c := change{}
	for id, r := range s.Ledger.now {
		if r != (index.Record{}) && which(&r) {
			c[id] = index.Record{}
		}
	}
	return c
}

func (s *Scenario) remove(hash, worker string) func() error {
	return func() error {
		c := s.gone(func(r *index.Record) bool { return r.Hash == hash && r.Worker == worker })
		scope := record("", "", index.HBM, 0).Scope
		return s.do(c, func() error {
			n, err := s.Index.Remove(context.Background(), []index.Removal{{Scope: scope, Hash: hash, Worker: worker}})
			return counted(n, len(c), err)
		})
	}
}

func (s *Scenario) clearWorker(worker string) func() error {
	return func() error {
		c := s.gone(func(r *index.Record) bool { return r.Worker == worker })
		return s.do(c, func() error {
			n, err := s.Index.ClearWorker(context.Background(), worker)
			return counted(n, len(c), err)
		})
	}
}

func (s *Scenario) expire(before uint64) func() error {
	return func() error {
		c := s.gone(func(r *index.Record) bool { return r.LastAccess < before })
		return s.do(c, func() error {
			n, err := s.Index.Expire(context.Background(), before)
			return counted(n, len(c), err)
		})
	}
}

func (s *Scenario) clear() error {
	return s.do(s.gone(func(*index.Record) bool { return true }), func() error { return s.Index.Clear(context.Background()) })
}

func (s *Scenario) announce(incarnation uint64) func() error {
	return func() error {
		s.Ledger.mu.Lock()
		s.Ledger.begun = incarnation
		s.Ledger.mu.Unlock()
		c := s.gone(func(r *index.Record) bool { return r.Worker == Volatile })
		return s.do(c, func() error { return s.Index.Announce(context.Background(), Volatile, incarnation) })
	}
}

func (s *Scenario) flush() error {
	if err := s.Index.Flush(context.Background()); err != nil {
		return err
	}
	s.Ledger.flush()
	return nil
}

func counted(n, want int, err error) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d records removed instead of %d", n, want)
	}
	return err
}
