//go:build race

package pagertest

// racing: the race detector is on.
const racing = true
