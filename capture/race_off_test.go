//go:build !race

package capture_test

const thin = 1
