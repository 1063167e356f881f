//go:build !cuda

package main

// prepare has nothing to do where there is no device.
func prepare() {}
