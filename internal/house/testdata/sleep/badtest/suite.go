// Package badtest is a suite, so it counts as a test.
package badtest

import "time"

func wait() { time.Sleep(time.Second) }
