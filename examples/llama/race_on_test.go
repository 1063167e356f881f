//go:build race

package main

// raceEnabled: the model's arithmetic takes twenty times as long under the race
// detector, so that stories are shorter and told less often.
const raceEnabled = true
