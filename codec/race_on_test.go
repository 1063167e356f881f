//go:build race

package codec_test

// raceEnabled: the race detector makes sync.Pool drop objects at random, so
// allocations cannot be counted; and coding takes ten times as long.
const raceEnabled = true
