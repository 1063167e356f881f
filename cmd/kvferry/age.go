package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// age is a flag value: a duration that also takes days and weeks, as in 7d or
// 2w.
type age time.Duration

func (g *age) String() string {
	if *g == 0 {
		return ""
	}
	return time.Duration(*g).String()
}

// Type names the value in help texts.
func (g *age) Type() string { return "age" }

// Set parses a whole number of days (d) or weeks (w), or anything that
// time.ParseDuration takes; it must be positive.
func (g *age) Set(s string) error {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if len(s) > 1 && units[s[len(s)-1]] != 0 {
		unit := units[s[len(s)-1]]
		n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/int64(unit) {
			return fmt.Errorf("%q is not an age such as 7d, 2w or 36h", s)
		}
		*g = age(n * int64(unit))
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not an age such as 7d, 2w or 36h", s)
	}
	*g = age(d)
	return nil
}
