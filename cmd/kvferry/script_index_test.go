package main

import (
	"testing"
)

// TestScriptsOfEveryIndex runs scripts that hold for every index in a directory,
// with INDEX art, lsm and fsdir.
func TestScriptsOfEveryIndex(t *testing.T) {
	t.Parallel()
	scriptsOfKinds(t, "index", "INDEX", indexART, indexLSM, indexFSDir)
}
