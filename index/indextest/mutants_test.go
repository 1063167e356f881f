package indextest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// mutant is a model with a fault: it changes what comes in, or what goes out.
type mutant struct {
	*Model
	put    func(rs []index.Record) []index.Record
	remove func(x *index.Removal)
	key    func(k *index.Key)
	scan   func(m *mutant, s *index.Scope, prefix string, dst []index.Record) []index.Record
	found  func(rs []index.Record) []index.Record
	query  func(q *index.Query)
	match  func(ms []index.Match) []index.Match
	count  func(n int) int
	expire func(before uint64) uint64
	seq    uint64
	bytes  uint64
	quiet  bool // announcements are not heard
	forget bool // reopening is not noticed
}

func (m *mutant) Put(ctx context.Context, rs []index.Record) error {
	if m.put != nil {
		rs = m.put(slices.Clone(rs))
	}
	return m.Model.Put(ctx, rs)
}

func (m *mutant) Remove(ctx context.Context, xs []index.Removal) (int, error) {
	xs = slices.Clone(xs)
	for i := range xs {
		if m.remove != nil {
			m.remove(&xs[i])
		}
	}
	n, err := m.Model.Remove(ctx, xs)
	if m.count != nil {
		n = m.count(n)
	}
	return n, err
}

func (m *mutant) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	asked := *k
	if m.key != nil {
		m.key(&asked)
	}
	return m.Model.Locate(ctx, &asked, dst)
}

func (m *mutant) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	before := len(dst)
	if m.scan != nil {
		m.counts.PrefixScans++
		return m.scan(m, s, prefix, dst), nil
	}
	dst, err := m.Model.Scan(ctx, s, prefix, dst)
	if m.found != nil {
		dst = append(dst[:before], m.found(dst[before:])...)
	}
	return dst, err
}

func (m *mutant) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	asked := *q
	if m.query != nil {
		m.query(&asked)
	}
	dst, err := m.Model.Match(ctx, &asked, dst)
	if m.match != nil {
		dst = m.match(dst)
	}
	return dst, err
}

func (m *mutant) Expire(ctx context.Context, before uint64) (int, error) {
	if m.expire != nil {
		before = m.expire(before)
	}
	return m.Model.Expire(ctx, before)
}

func (m *mutant) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if m.quiet {
		return nil
	}
	return m.Model.Announce(ctx, worker, incarnation)
}

func (m *mutant) Metrics(ctx context.Context) (index.Metrics, error) {
	x, err := m.Model.Metrics(ctx)
	x.Seq *= 1 + m.seq
	x.ResidentBytes += m.bytes
	return x, err
}

// where returns the records for which which is true.
func (m *mutant) where(dst []index.Record, which func(r *index.Record) bool) []index.Record {
	return append(dst, m.live(which)...)
}

// joined is how the original's keys on disk have a scope and prefix.
func joined(s *index.Scope, prefix string) string {
	name, _ := s.Adapter.Name()
	return strings.Join([]string{s.Model, s.Tokenizer, name, s.Tenant, prefix}, "\x00")
}

var mutants = map[string]func(m *mutant){
	"keys with NUL between fields": func(m *mutant) {
		m.scan = func(m *mutant, s *index.Scope, prefix string, dst []index.Record) []index.Record {
			return m.where(dst, func(r *index.Record) bool { return joined(&r.Scope, r.Prefix) == joined(s, prefix) })
		}
	},
	"prefixes of prefixes": func(m *mutant) {
		m.scan = func(m *mutant, s *index.Scope, prefix string, dst []index.Record) []index.Record {
			return m.where(dst, func(r *index.Record) bool { return r.Scope == *s && strings.HasPrefix(r.Prefix, prefix) })
		}
	},
	"another tenant's records": func(m *mutant) {
		m.scan = func(m *mutant, s *index.Scope, prefix string, dst []index.Record) []index.Record {
			return m.where(dst, func(r *index.Record) bool { return r.Model == s.Model && r.Prefix == prefix })
		}
	},
	"the caller's records are overwritten": func(m *mutant) {
		m.scan = func(m *mutant, s *index.Scope, prefix string, dst []index.Record) []index.Record {
			return m.where(dst[:0], func(r *index.Record) bool { return r.Scope == *s && r.Prefix == prefix })
		}
	},
	"no order":           func(m *mutant) { m.found = func(rs []index.Record) []index.Record { slices.Reverse(rs); return rs } },
	"an index of 8 bits": func(m *mutant) { m.key = func(k *index.Key) { k.Index %= 1 << 8 } },
	"one group":          func(m *mutant) { m.key = func(k *index.Key) { k.Group = 0 } },
	"none is an adapter": func(m *mutant) { m.key = func(k *index.Key) { k.Scope = index.AsHolt.Scope(k.Scope) } },
	"the last of a batch is lost": func(m *mutant) {
		m.put = func(rs []index.Record) []index.Record { return rs[:max(min(1, len(rs)), len(rs)-1)] }
	},
	"the first of two puts wins":     func(m *mutant) { m.put = func(rs []index.Record) []index.Record { slices.Reverse(rs); return rs } },
	"records without references":     func(m *mutant) { m.put = func(rs []index.Record) []index.Record { return unused(rs) } },
	"a removal is of every tier":     func(m *mutant) { m.remove = func(x *index.Removal) { x.Tier = 0 } },
	"a removal is of every group":    func(m *mutant) { m.remove = func(x *index.Removal) { x.OneGroup = false } },
	"a removal is of one adapter":    func(m *mutant) { m.remove = func(x *index.Removal) { x.AnyAdapter = false } },
	"removals are not counted right": func(m *mutant) { m.count = func(n int) int { return min(n, 1) } },
	"the time is too":                func(m *mutant) { m.expire = func(before uint64) uint64 { return before + 1 } },
	"every group matches":            func(m *mutant) { m.query = func(q *index.Query) { q.Group = 0 } },
	"every worker matches":           func(m *mutant) { m.query = func(q *index.Query) { q.Workers = nil } },
	"half a prompt":                  func(m *mutant) { m.query = func(q *index.Query) { q.Hashes = q.Hashes[:min(len(q.Hashes), 1)] } },
	"a match without its tiers": func(m *mutant) {
		m.match = func(ms []index.Match) []index.Match {
			for i := range ms {
				ms[i].InTier = [index.Tiers]int{}
			}
			return ms
		}
	},
	"numbers that jump":     func(m *mutant) { m.seq = 1 },
	"bytes that are wrong":  func(m *mutant) { m.bytes = 1 },
	"deaf":                  func(m *mutant) { m.quiet = true },
	"nothing is ever stale": func(m *mutant) { m.forget = true },
}

func unused(rs []index.Record) []index.Record {
	for i := range rs {
		rs[i].Refs = 0
	}
	return rs
}

// TestMutants holds the suite to what it is for: a fault is found, whichever of
// these it is, and the operations that show it are few.
func TestMutants(t *testing.T) {
	t.Parallel()
	for name, fault := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Config{
				Open: func(_ testing.TB, o index.Options) index.Index {
					m := &mutant{Model: NewModel(o)}
					fault(m)
					return m
				},
				Reopen: func(_ testing.TB, x index.Index, _ index.Options) index.Index {
					if m := x.(*mutant); !m.forget {
						m.Reopen()
					}
					return x
				},
			}
			for seed := range uint64(20) {
				ops := randomOps(seed, statefulSteps, true)
				if at, err := lockstep(t, c, index.Recommended, ops); err != nil {
					ops = shorten(ops[:at+1], func(ops []op) bool {
						_, err := lockstep(t, c, index.Recommended, ops)
						return err != nil
					})
					require.LessOrEqual(t, len(ops), 12, "%s", listed(ops))
					return
				}
			}
			require.Fail(t, "not found")
		})
	}
}

// TestNotLinearizable: porcupine is asked the right question.
func TestNotLinearizable(t *testing.T) {
	t.Parallel()
	put := linearCall{kind: opPut, slots: []int{0, 1}, value: 7}
	call := func(in linearCall, out linearResult, from, to int64) porcupine.Operation {
		return porcupine.Operation{Input: in, Output: out, Call: from, Return: to}
	}
	scan := linearCall{kind: opScan, slots: []int{0, 1, 2, 3}}
	both, one := linearResult{seen: slots{7, 7}}, linearResult{seen: slots{7}}
	remove := linearCall{kind: opRemove, slots: []int{1}}
	for _, c := range []struct {
		name    string
		history []porcupine.Operation
		ok      bool
	}{
		{"seen", []porcupine.Operation{call(put, linearResult{}, 1, 2), call(scan, both, 3, 4)}, true},
		{"not seen, but at the same time", []porcupine.Operation{call(put, linearResult{}, 1, 4), call(scan, linearResult{}, 3, 5)}, true},
		{"not seen", []porcupine.Operation{call(put, linearResult{}, 1, 2), call(scan, linearResult{}, 3, 4)}, false},
		{"half of a batch", []porcupine.Operation{call(put, linearResult{}, 1, 4), call(scan, one, 2, 3)}, false},
		{"seen, then not", []porcupine.Operation{call(put, linearResult{}, 1, 9), call(scan, both, 2, 3), call(scan, linearResult{}, 4, 5)}, false},
		{"removed twice", []porcupine.Operation{
			call(put, linearResult{}, 1, 2), call(remove, linearResult{n: 1}, 3, 9), call(remove, linearResult{n: 1}, 4, 8),
		}, false},
		{"half is left", []porcupine.Operation{call(put, linearResult{}, 1, 2), call(remove, linearResult{n: 1}, 3, 9), call(scan, one, 4, 8)}, true},
	} {
		require.Equal(t, c.ok, porcupine.CheckOperations(linearModel(), c.history), c.name)
	}
}
