// Package lsm is a residency index on Pebble, a log-structured merge tree.
package lsm

import (
	"context"

	"github.com/kvferry/kvferry/index"
)

// Index is a residency index in a directory. One process has it open.
type Index struct {
	index.Index
}

// Open opens the index in dir, which is made if it is missing. What it finds
// damaged is ErrCorrupt.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	panic("not written yet")
}
