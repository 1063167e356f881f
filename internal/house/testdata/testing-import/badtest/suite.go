// Package badtest is a suite.
package badtest

import "testing"

func run(*testing.T) {}
