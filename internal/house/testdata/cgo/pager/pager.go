//go:build cuda

// Package pager may not, whatever its build tags.
package pager

import "C"
