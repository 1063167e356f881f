package indextest

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// soaking reports whether tests shall take their time.
func soaking() bool { return os.Getenv("KVFERRY_SOAK") == "1" }

// runSeed returns the seed of the i-th random run of a test: always the same of
// the first, another each time of the others. KVFERRY_SEED repeats one.
func runSeed(t testing.TB, i uint64) uint64 {
	t.Helper()
	seed := i
	if i > 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if s := os.Getenv("KVFERRY_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("KVFERRY_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d", seed)
	return seed
}
