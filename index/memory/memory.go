// Package memory is a residency index in memory.
package memory

import (
	"github.com/kvferry/kvferry/index"
)

// Options are those of an index in memory. The zero Options work.
type Options struct {
	index.Options
}

// Index is a residency index in memory.
type Index struct {
	index.Index
}

// New returns an empty index.
func New(o Options) (*Index, error) {
	panic("not written yet")
}
