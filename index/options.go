package index

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// DefaultHistory is how many changes an index keeps for watchers that begin late
// or fall behind, if not said otherwise.
const DefaultHistory = 1 << 12

// Options are those of every index. The zero Options work.
type Options struct {
	Rules Rules
	// History is how many changes are kept for watchers, from the first Watch on. An
	// index may keep fewer of those that take more than 64 MiB, and none after many
	// changes that nobody watched, until somebody does. 0: DefaultHistory.
	History int
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.History == 0 {
		o.History = DefaultHistory
	}
}

// Validate returns ErrInvalid for options that cannot be.
func (o *Options) Validate() error {
	if o.History < 0 {
		return fmt.Errorf("index: history of %d changes: %w", o.History, kvferry.ErrInvalid)
	}
	return o.Rules.Check()
}
