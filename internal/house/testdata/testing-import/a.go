// Package bad ships package testing.
package bad

import "testing"

func check(*testing.T) {}
