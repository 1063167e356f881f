//go:build !unix

package host

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// MapFile is ErrUnsupported on this system.
func MapFile(path string, _ int64, _ Access) (*File, error) {
	return nil, fmt.Errorf("host: map %s: %w", path, kvferry.ErrUnsupported)
}

func unmap([]byte) error { return nil }
