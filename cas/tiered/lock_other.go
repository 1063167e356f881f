//go:build !unix

package tiered

import (
	"fmt"
	"os"

	"github.com/kvferry/kvferry"
)

// lockDir makes the directory this process's until the file is closed.
func lockDir(*os.File) error {
	return fmt.Errorf("directories cannot be locked here: %w", kvferry.ErrUnsupported)
}
