package synthetic

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// PopulateKV is not there yet: ErrUnsupported.
func (e *Engine) PopulateKV(int, uint64) error {
	return fmt.Errorf("synthetic: fill kv: %w", kvferry.ErrUnsupported)
}
