//go:build !race

package dir_test

const faultStride = 1
