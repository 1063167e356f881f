//go:build race

package engine

// raceEnabled: the model's arithmetic takes twenty times as long under the race
// detector, so that sweeps over its steps take fewer.
const raceEnabled = true
