//go:build race

package memory

// raceEnabled: what one goroutine does with many records, it does with fewer under
// the race detector.
const raceEnabled = true
