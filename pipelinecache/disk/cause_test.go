package disk_test

import (
	"syscall"

	"github.com/kvferry/kvferry"
)

type sentinel struct{ cause, want error }

// sentinelsOf are errors of the system and what the package calls them.
func sentinelsOf() []sentinel {
	return []sentinel{
		{syscall.EIO, syscall.EIO},
		{syscall.ENOSPC, kvferry.ErrNoSpace},
		{syscall.EDQUOT, kvferry.ErrNoSpace},
		{syscall.EROFS, kvferry.ErrReadOnly},
	}
}
