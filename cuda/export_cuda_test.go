//go:build cuda

package cuda

import "time"

// Napper is napper.
type Napper struct{ *napper }

// NewNapper returns a napper.
func NewNapper() Napper { return Napper{newNapper()} }

// Nap is nap.
func (n Napper) Nap(pause time.Duration) { n.nap(pause) }

// Close is close.
func (n Napper) Close() { n.close() }
