//go:build !race

package disk_test

// looks is how often a reader looks beside 100 writers.
const looks = 10_000
