//go:build !race

package crashtest

// Racing says that the race detector is off.
const Racing = false
