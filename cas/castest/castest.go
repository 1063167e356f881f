// Package castest is the suite that every content-addressed store passes. A
// store's own test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		castest.Run(t, castest.Config{
//			Open:      func(t testing.TB, s castest.Setup) cas.Store { ... },
//			Abilities: []castest.Ability{castest.Quota, castest.Clock, castest.Collects},
//		})
//	}
package castest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
)

// Ability is something that not every store can do.
type Ability string

// The abilities. The first six are properties of the store that Config.Open
// opens; the others are optional interfaces of package cas.
const (
	Quota      Ability = "quota"      // Setup.QuotaBytes is obeyed
	Clock      Ability = "clock"      // Setup.Now is the clock of leases and collections
	Persistent Ability = "persistent" // opening Setup.Dir again finds what was committed
	Shared     Ability = "shared"     // two open stores in one Setup.Dir see each other's blobs, sessions and catalog
	Evicts     Ability = "evicts"     // blobs of class Cache are evicted to stay within Setup.CacheBytes
	Expires    Ability = "expires"    // blobs of class Cache go Setup.CacheTTL after they were stored, by Setup.Now

	Enumerates  Ability = "cas.Enumerator"
	Views       Ability = "cas.Viewer"
	Batches     Ability = "cas.BatchGetter"
	Collects    Ability = "cas.Collector"
	Checks      Ability = "cas.Checker"
	Quarantines Ability = "cas.Quarantiner"
	Describes   Ability = "cas.Stater"
	Scrubs      Ability = "cas.Scrubber"
)

// properties are the abilities that are no interfaces.
func properties() []Ability { return []Ability{Quota, Clock, Persistent, Shared, Evicts, Expires} }

// Setup says what a store is opened with.
type Setup struct {
	// Dir is a directory for the store alone. It is new unless a test opens
	// the same store again. Stores without files ignore it.
	Dir string
	// QuotaBytes is the quota; 0 is none.
	QuotaBytes int64
	// CacheBytes is the quota of class Cache, not below 4 MiB; 0 is none. The
	// store is opened so that it evicts in steps of a sixteenth of it at most.
	CacheBytes int64
	// CacheTTL is how long blobs of class Cache live, in whole seconds; 0 is
	// for ever.
	CacheTTL time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Config describes the store under test.
type Config struct {
	// Open opens a store; required. It fails the test if it cannot, and
	// leaves closing to the suite.
	Open func(t testing.TB, s Setup) cas.Store
	// Abilities lists exactly what the store can do, so that nothing is left
	// out unseen: the suite fails if an optional interface is listed and
	// missing, or there and not listed.
	Abilities []Ability
	// MaxBlobBytes is the length of the longest blob that is tried; 0 means
	// 5 MiB.
	MaxBlobBytes int
}

// Run runs the whole suite.
func Run(t *testing.T, c Config) {
	if c.MaxBlobBytes == 0 {
		c.MaxBlobBytes = 5 << 20
	}
	t.Run("abilities", c.testAbilities)
	for _, g := range []struct {
		name  string
		tests []test
	}{
		{"blobs", blobTests},
		{"session", sessionTests},
		{"catalog", catalogTests},
		{"image", imageTests},
		{"collect", collectTests},
		{"ability", abilityTests},
		{"batch", batchTests},
		{"cache", cacheTests},
		{"life", lifeTests},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, x := range g.tests {
				if missing := c.missing(x.needs); missing == nil {
					t.Run(x.name, func(t *testing.T) { x.run(t, c) })
				}
			}
		})
	}
}

// test is one test of the suite. It does not exist for stores that do not
// list what it needs.
type test struct {
	name  string
	needs []Ability
	run   func(t *testing.T, c Config)
}

func needs(a ...Ability) []Ability { return a }

func (c Config) can(a Ability) bool { return slices.Contains(c.Abilities, a) }

func (c Config) missing(needed []Ability) []Ability {
	var out []Ability
	for _, a := range needed {
		if !c.can(a) {
			out = append(out, a)
		}
	}
	return out
}

// testAbilities compares the list of abilities with the store's interfaces.
func (c Config) testAbilities(t *testing.T) {
	s := c.open(t)
	found := map[Ability]bool{}
	_, found[Enumerates] = s.(cas.Enumerator)
	_, found[Views] = s.(cas.Viewer)
	_, found[Batches] = s.(cas.BatchGetter)
	_, found[Collects] = s.(cas.Collector)
	_, found[Checks] = s.(cas.Checker)
	_, found[Quarantines] = s.(cas.Quarantiner)
	_, found[Describes] = s.(cas.Stater)
	_, found[Scrubs] = s.(cas.Scrubber)
	for a, is := range found {
		require.Equal(t, is, c.can(a), "%s: is in the store: %t, is listed: %t", a, is, c.can(a))
	}
	for _, a := range c.Abilities {
		_, isInterface := found[a]
		require.True(t, isInterface || slices.Contains(properties(), a), "unknown ability %q", a)
	}
}

// open opens an ordinary store in a new directory and closes it at the end.
func (c Config) open(t testing.TB) cas.Store { return c.openWith(t, Setup{}) }

// openWith is open with a setup, whose directory may be left out.
func (c Config) openWith(t testing.TB, s Setup) cas.Store {
	t.Helper()
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	store := c.Open(t, s)
	require.NotNil(t, store)
	t.Cleanup(func() { _ = store.Close() }) // the test may have closed it
	return store
}
