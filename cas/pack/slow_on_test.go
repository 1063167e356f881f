//go:build race

package pack

// The race detector makes everything many times slower: some tests are left
// out then, and the long ones take one part in slow of what they take else.
const (
	underRace = true
	slow      = 8
)
