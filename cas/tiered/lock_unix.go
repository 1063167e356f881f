//go:build unix

package tiered

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// lockDir makes the directory this process's until the file is closed.
func lockDir(dir *os.File) error {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another process has this queue: %w", kvferry.ErrReadOnly)
	}
	return err
}
