package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScriptsOfEveryIndex runs scripts that hold for every index in a directory,
// with INDEX art, lsm and fsdir.
func TestScriptsOfEveryIndex(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{indexART, indexLSM, indexFSDir} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, params(t, "index", "INDEX", kind))
		})
	}
}
