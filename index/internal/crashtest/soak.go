package crashtest

import "os"

// Soaking reports whether sweeps that look at a sample shall look at everything:
// KVFERRY_SOAK=1.
func Soaking() bool { return os.Getenv("KVFERRY_SOAK") == "1" }

// Every returns how far apart the places are where a sweep looks that goes over
// data, failures or crashes: each place when there is time, and every n-th
// otherwise. Under the race detector, they are fewer, an odd number apart: the
// sweep has one client, and who has no detector runs it as often as n says.
func Every(n int) int {
	switch {
	case Soaking():
		return 1
	case Racing:
		return 7*n | 1
	}
	return n
}
