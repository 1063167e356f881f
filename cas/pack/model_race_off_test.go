//go:build !race

package pack

const modelRace = false
