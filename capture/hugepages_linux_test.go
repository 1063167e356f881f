package capture_test

import (
	"flag"

	"golang.org/x/sys/unix"
)

// withoutHugePages lets this process have small pages alone. A sweep opens
// thousands of stores in memory and puts some hundred bytes into each, for which
// the kernel would clear a huge page. Benchmarks have what programs have.
func withoutHugePages() {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) // without it tests are only slower
	}
}
