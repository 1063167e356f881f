// Package checked starts a goroutine.
package checked

func f() { go f() }
