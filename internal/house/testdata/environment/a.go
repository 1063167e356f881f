// Package bad reads the environment.
package bad

import (
	"os"
	sys "syscall"
)

var (
	_ = os.Getenv("A")
	_ = os.Environ
	_ = os.Args
)

func f() {
	_, _ = sys.Getenv("B")
}
