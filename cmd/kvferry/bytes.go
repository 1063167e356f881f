package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag value: a number of bytes, also in units, as in 500GB or
// 1.5TiB.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type names the value in help texts.
func (b *byteSize) Type() string { return "size" }

// Set parses a positive number with an optional unit: B, or one of K, M, G, T
// and P with B (of 1000) or iB (of 1024) or nothing (of 1024) behind it.
func (b *byteSize) Set(s string) error {
	bad := fmt.Errorf("%q is not a size such as 800MB, 1.5TiB or 1073741824", s)
	digits := strings.TrimRight(s, "BKMGTPbkmgtpi ")
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	factor := 1.0
	if unit != "" && unit != "B" {
		power := strings.IndexByte("KMGTP", unit[0]) + 1
		base, ok := map[string]float64{"": 1024, "IB": 1024, "B": 1000}[unit[1:]]
		if power == 0 || !ok {
			return bad
		}
		factor = math.Pow(base, float64(power))
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n > 0) || strings.Trim(digits, "0123456789.") != "" {
		return bad
	}
	if n *= factor; n < 1 || n >= 1<<62 {
		return bad
	}
	*b = byteSize(n)
	return nil
}
