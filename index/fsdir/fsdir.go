// Package fsdir is a residency index in a directory that an operator can read
// with ls and cat.
package fsdir

import (
	"context"

	"github.com/kvferry/kvferry/index"
)

// Index is a residency index in a directory. One process has it open.
type Index struct {
	index.Index
}

// Open opens the index in dir, which is made if it is missing. Damaged files are
// no error: Check tells of them.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	panic("not written yet")
}
