package disk

import (
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
)

// Damaged says what a Get does with a file that is damaged.
type Damaged uint8

const (
	// SetAside renames it to .H.bin.corrupt, for somebody to look at. With a
	// budget, which does not count such files, it is Remove.
	SetAside Damaged = iota
	// Remove removes it.
	Remove
	// Leave leaves it, as vyre-runtime does: every Get hashes it anew.
	Leave
)

// DefaultStaleAge is how old a temporary file is before it counts as left over,
// unless the options say otherwise.
const DefaultStaleAge = time.Hour

// Options say how a directory is used. The zero value is good.
type Options struct {
	// ReadOnly opens a directory that is there and changes nothing in it: Put
	// is ErrReadOnly, damaged files stay, there is no budget.
	ReadOnly bool
	// Unversioned serves the files of vyre-runtime 0.6, too.
	Unversioned bool
	// Damaged says what a Get does with a file that is damaged.
	Damaged Damaged
	// BudgetBytes is how many bytes the files of artifacts may have together;
	// 0 is without a limit.
	BudgetBytes int64
	// StaleAge is how old a temporary file is before Open removes it. It must
	// be longer than writing a file takes on a file system without locks.
	StaleAge time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.StaleAge == 0 {
		o.StaleAge = DefaultStaleAge
	}
	if o.ReadOnly {
		o.BudgetBytes, o.Damaged = 0, Leave
	}
	if o.BudgetBytes > 0 && o.Damaged == SetAside {
		o.Damaged = Remove
	}
}

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	var all []error
	if o.BudgetBytes < 0 {
		all = append(all, fmt.Errorf("disk: a budget of %d bytes: want 0, for none, or more: %w", o.BudgetBytes, kvferry.ErrInvalid))
	}
	if o.StaleAge < 0 {
		all = append(all, fmt.Errorf("disk: stale after %v: want 0, for %v, or more: %w", o.StaleAge, DefaultStaleAge, kvferry.ErrInvalid))
	}
	if o.Damaged > Leave {
		all = append(all, fmt.Errorf("disk: %d is no way to treat damaged files: use SetAside, Remove or Leave: %w", o.Damaged, kvferry.ErrInvalid))
	}
	return errors.Join(all...)
}
