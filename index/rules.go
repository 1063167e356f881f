package index

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Rules decide what the original left open, or does in two ways.
type Rules uint8

const (
	// Recommended: Tokens are data, no adapter is not an adapter without a name,
	// volatile records of a reopened index are stale.
	Recommended Rules = 0
	// AsMemory is what the original's index in memory does: Tokens are a part of
	// the identity; nothing is ever stale.
	AsMemory Rules = 1
	// AsHolt is what the original's indexes on disk do: Tokens are data, no adapter
	// and an adapter without a name are one, nothing is ever stale.
	AsHolt Rules = 2
)

// String returns recommended, as-memory or as-holt.
func (r Rules) String() string {
	return [...]string{"recommended", "as-memory", "as-holt"}[r]
}

// Check returns ErrInvalid for rules that are none.
func (r Rules) Check() error {
	if r > AsHolt {
		return fmt.Errorf("index: no rules have the number %d: %w", uint8(r), kvferry.ErrInvalid)
	}
	return nil
}

// Scope returns the scope that stands for s in comparisons.
func (r Rules) Scope(s Scope) Scope {
	if r == AsHolt && s.Adapter == (Adapter{}) {
		s.Adapter = Named("")
	}
	return s
}

// Key returns the key that stands for k in comparisons: two records are of one
// block if theirs are equal.
func (r Rules) Key(k Key) Key {
	k.Scope = r.Scope(k.Scope)
	if r != AsMemory {
		k.Tokens = 0
	}
	return k
}

// Stale reports whether volatile records are stale after a reopening.
func (r Rules) Stale() bool { return r == Recommended }
