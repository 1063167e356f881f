package pipelinetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

// Ability is something that not every store can do.
type Ability string

// The abilities.
const (
	// Counts: the metrics count lookups, hits, misses, puts and rejected puts.
	Counts Ability = "counts"
	// Gauges: the metrics say how many artifacts are kept, and their bytes; each
	// artifact once and without what stands around it.
	Gauges Ability = "gauges"
	// Shares: GetShared returns the very memory that PutShared was given.
	Shares Ability = "shares"
	// Persists: opening Setup.Dir again finds what was flushed.
	Persists Ability = "persists"
	// ReadOnly: Put and PutShared return ErrReadOnly. What is read comes from
	// Config.Seed.
	ReadOnly Ability = "read-only"
)

func abilities() []Ability { return []Ability{Counts, Gauges, Shares, Persists, ReadOnly} }

// Setup says what a store is opened with.
type Setup struct {
	// Dir is a directory for the store alone. It is new unless a test opens
	// the same store again. Stores without files ignore it.
	Dir string
}

// Config describes the store under test.
type Config struct {
	// Open opens a store; required. It fails the test if it cannot. What has
	// to be closed it leaves to t.Cleanup. The store has room for 300 artifacts
	// and 8 MiB, whatever their fingerprints are.
	Open func(t testing.TB, s Setup) pipelinecache.Store
	// Seed keeps an artifact where the stores of a Setup find it, opened
	// before or after. It is required of read-only stores, and left out by the
	// others, into which the suite puts.
	Seed func(t testing.TB, s Setup, f pipelinecache.Fingerprint, artifact []byte)
	// Abilities lists exactly what the store can do.
	Abilities []Ability
}

// Run runs the whole suite.
func Run(t *testing.T, c Config) {
	for _, a := range c.Abilities {
		require.True(t, slices.Contains(abilities(), a), "unknown ability %q", a)
	}
	require.Equal(t, c.can(ReadOnly), c.Seed != nil, "Config.Seed is for read-only stores, and for all of them")
	for _, g := range []struct {
		name  string
		tests []test
	}{
		{"read", readTests},
		{"write", writeTests},
		{"context", contextTests},
		{"metrics", metricsTests},
		{"durable", durableTests},
		{"concurrent", concurrentTests},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, x := range g.tests {
				if c.suits(x) {
					t.Run(x.name, func(t *testing.T) {
						t.Parallel()
						x.run(open(t, c))
					})
				}
			}
		})
	}
}

// test is one test of the suite. It does not exist for stores that lack what it
// needs or have what it does not bear.
type test struct {
	name     string
	needs    []Ability
	excludes []Ability
	run      func(s *subject)
}

func (c Config) can(a Ability) bool { return slices.Contains(c.Abilities, a) }

func (c Config) suits(x test) bool {
	lacks := func(a Ability) bool { return !c.can(a) }
	return !slices.ContainsFunc(x.needs, lacks) && !slices.ContainsFunc(x.excludes, c.can)
}

// subject is an open store with the test that uses it.
type subject struct {
	*testing.T
	pipelinecache.Store

	config Config
	setup  Setup
}

func open(t *testing.T, c Config) *subject {
	t.Helper()
	return openIn(t, c, Setup{Dir: t.TempDir()})
}

func openIn(t *testing.T, c Config, s Setup) *subject {
	t.Helper()
	store := c.Open(t, s)
	require.NotNil(t, store)
	return &subject{T: t, Store: store, config: c, setup: s}
}

// keep makes the store hold an artifact, by a Put if it can.
func (s *subject) keep(f pipelinecache.Fingerprint, artifact []byte) {
	s.Helper()
	if s.config.Seed != nil {
		s.config.Seed(s, s.setup, f, artifact)
		return
	}
	require.NoError(s, s.Put(s.Context(), f, artifact))
}
