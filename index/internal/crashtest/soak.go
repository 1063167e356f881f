package crashtest

import "os"

// Soaking reports whether sweeps that look at a sample shall look at everything:
// KVFERRY_SOAK=1.
func Soaking() bool { return os.Getenv("KVFERRY_SOAK") == "1" }
