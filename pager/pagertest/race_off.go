//go:build !race

package pagertest

// racing: the race detector is off.
const racing = false
