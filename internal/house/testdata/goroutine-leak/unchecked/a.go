// Package unchecked starts a goroutine and has no tests.
package unchecked

func f() { go f() }
