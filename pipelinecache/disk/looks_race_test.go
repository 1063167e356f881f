//go:build race

package disk_test

// looks is less often under the race detector, which makes hashing slow.
const looks = 1000
