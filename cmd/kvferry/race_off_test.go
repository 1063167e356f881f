//go:build !race

package main

// raceEnabled says that the race detector is on, which makes the built-in model
// too slow for a test.
const raceEnabled = false
