//go:build !race

package packfile_test

const raceEnabled = false
