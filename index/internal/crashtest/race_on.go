//go:build race

package crashtest

// Racing says that the race detector is on, and everything takes ten times as long.
const Racing = true
