//go:build !race

package table

const (
	modelSteps   = 6000
	modelDigests = 1500
)
