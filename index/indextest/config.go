package indextest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// Config describes the index under test.
type Config struct {
	// Open opens an index that is empty and nobody else's; required. It fails the
	// test if it cannot. Closing it a second time is left to t.Cleanup.
	Open func(t testing.TB, o index.Options) index.Index
	// Reopen closes x, which Open or Reopen returned, and opens it again with what
	// it holds. nil: the index is not persistent.
	Reopen func(t testing.TB, x index.Index, o index.Options) index.Index
	// Crash ends x as a killed process or machine does, with no Flush, and opens
	// what it left. nil: not tested.
	Crash func(t testing.TB, x index.Index, o index.Options) index.Index
	// Again opens what x has open once more, which fails, and returns the error.
	// Required of an index that is persistent and not shared.
	Again func(t testing.TB, x index.Index, o index.Options) error
	// OwnHistory: how many changes are kept for watchers is not what Options say.
	OwnHistory bool
	// Slow: each call goes to another process. Tests with many calls make fewer.
	Slow bool
	// NoWatch: Watch is ErrUnsupported.
	NoWatch bool
}

// rules are all of them.
func rules() []index.Rules {
	return []index.Rules{index.Recommended, index.AsMemory, index.AsHolt}
}

// Run runs the whole suite.
func Run(t *testing.T, c Config) {
	require.NotNil(t, c.Open)
	for _, g := range []struct {
		name  string
		tests []test
	}{
		{"write", writeTests},
		{"read", readTests},
		{"workers", workerTests},
		{"watch", watchTests},
		{"keeper", keeperTests},
		{"concurrent", concurrentTests},
		{"crash", crashTests},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, x := range g.tests {
				if x.reopens && c.Reopen == nil || x.crashes && c.Crash == nil || x.again && c.Again == nil || g.name == "watch" && c.NoWatch {
					continue
				}
				t.Run(x.name, func(t *testing.T) {
					t.Parallel()
					x.run(open(t, c, x.options))
				})
			}
		})
	}
	if c.NoWatch {
		t.Run("no watch", func(t *testing.T) { testNoWatch(open(t, c, index.Options{})) })
	}
	t.Run("stateful", func(t *testing.T) { Stateful(t, c) })
}

// test is one test of the suite.
type test struct {
	name    string
	reopens bool // only for persistent indexes
	crashes bool // only for those that are crashed
	again   bool // only for those that are open once at a time
	options index.Options
	run     func(s *subject)
}

// subject is an open index with the test that uses it.
type subject struct {
	*testing.T
	index.Index

	config  Config
	options index.Options
}

func open(t *testing.T, c Config, o index.Options) *subject {
	t.Helper()
	x := c.Open(t, o)
	require.NotNil(t, x)
	s := &subject{T: t, Index: x, config: c, options: o}
	t.Cleanup(func() { require.NoError(t, s.Index.Close()) })
	return s
}

// reopen closes the index and opens it again.
func (s *subject) reopen() {
	s.Helper()
	s.Index = s.config.Reopen(s.T, s.Index, s.options)
	require.NotNil(s, s.Index)
}

// put puts records, which must succeed.
func (s *subject) put(rs ...index.Record) {
	s.Helper()
	require.NoError(s, s.Put(s.Context(), rs))
}

// remove removes, which must succeed, and returns how many records.
func (s *subject) remove(rs ...index.Removal) int {
	s.Helper()
	n, err := s.Remove(s.Context(), rs)
	require.NoError(s, err)
	return n
}

// scan returns the records behind a prefix.
func (s *subject) scan(scope index.Scope, prefix string) []index.Record {
	s.Helper()
	rs, err := s.Scan(s.Context(), &scope, prefix, nil)
	require.NoError(s, err)
	return rs
}

// locate returns the records of a key.
func (s *subject) locate(k index.Key) []index.Record {
	s.Helper()
	rs, err := s.Locate(s.Context(), &k, nil)
	require.NoError(s, err)
	return rs
}

// all returns every record, by Snapshot.
func (s *subject) all() []index.Record {
	s.Helper()
	rs, err := snapshot(s.Context(), s)
	require.NoError(s, err)
	return rs
}

// metrics returns the counts.
func (s *subject) metrics() index.Metrics {
	s.Helper()
	m, err := s.Metrics(s.Context())
	require.NoError(s, err)
	return m
}

// holds requires that the index holds these records and no others, by every
// reader.
func (s *subject) holds(rs ...index.Record) {
	s.Helper()
	m := NewModel(s.options)
	require.NoError(s, m.Put(s.Context(), rs))
	want, err := snapshot(s.Context(), m)
	require.NoError(s, err)
	requireRecords(s, want, s.all())
	step := 1
	if racing {
		step += len(want) / 10
	}
	for i := 0; i < len(want); i += step {
		r := &want[i]
		for _, o := range []op{{kind: opLocate, key: r.Key}, {kind: opScan, key: r.Key}, {kind: opByHash, key: r.Key}} {
			w, g := o.apply(s.Context(), m), o.apply(s.Context(), s)
			require.NoError(s, same(&w, &g), "%v", o)
		}
	}
	require.Equal(s, uint64(len(want)), s.metrics().ResidentBlocks)
}
