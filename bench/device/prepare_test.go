//go:build !cuda

package main

// prepare has nothing to do where there is no device.
func prepare() {}

// conclude is the exit status of a child that did its work.
func conclude() int { return 0 }
