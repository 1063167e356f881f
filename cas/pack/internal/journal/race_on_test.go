//go:build race

package journal_test

// raceEnabled: the detector makes the sweeps of crashes ten times as slow, and
// one goroutine at a time is at work in them.
const raceEnabled = true
