//go:build unix

package tiered

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// lockPatience is how long a lock is asked for: a process that starts another
// one shares its locks with that for a moment, also those that it just gave up.
const lockPatience = 2 * time.Second

// lockDir makes the directory this process's until the file is closed.
func lockDir(dir *os.File) error {
	for waited := time.Duration(0); ; waited += lockPatience / 400 {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if waited >= lockPatience {
			return fmt.Errorf("another process has this queue: %w", kvferry.ErrReadOnly)
		}
		time.Sleep(lockPatience / 400)
	}
}
