//go:build race

package pack

// modelRace: the race detector makes everything many times slower.
const modelRace = true
