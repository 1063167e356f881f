// Package suitetest is a suite that starts a goroutine.
package suitetest

func F() { go F() }
