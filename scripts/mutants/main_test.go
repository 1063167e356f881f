package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlantedBugsFit: who changes a line in which a bug is planted hears of it at
// once, not when somebody plants them all.
func TestPlantedBugsFit(t *testing.T) {
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		require.NoError(t, err, m.name)
		require.Equal(t, 1, strings.Count(string(source), m.old), "%s: change scripts/mutants/list.go, too", m.name)
		require.NotEqual(t, m.old, m.new, m.name)
	}
}
