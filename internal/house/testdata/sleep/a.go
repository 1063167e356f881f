// Package bad may sleep outside its tests.
package bad

import "time"

func pace() { time.Sleep(time.Second) }
