package house_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/house"
)

var update = flag.Bool("update", false, "write what the rules say of the fixtures")

// TestTree holds the repository against every rule.
func TestTree(t *testing.T) {
	t.Parallel()
	tree, err := house.Load(os.DirFS(filepath.Join("..", "..")))
	require.NoError(t, err)
	require.NotEmpty(t, tree.Packages)
	for _, rule := range house.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			for _, p := range rule.Check(tree) {
				t.Errorf("%s\n\tto mend it: %s", p, rule.Fix)
			}
		})
	}
}

// TestRulesFire shows that each rule finds what it is there for, and nothing
// beside it: testdata/RULE is a small tree that breaks RULE, testdata/RULE.want
// says where.
func TestRulesFire(t *testing.T) {
	t.Parallel()
	for _, rule := range house.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			tree, err := house.Load(os.DirFS(filepath.Join("testdata", rule.Name)))
			require.NoError(t, err)
			var got strings.Builder
			for _, p := range rule.Check(tree) {
				got.WriteString(p.String() + "\n")
			}
			golden := filepath.Join("testdata", rule.Name+".want")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.NotEmpty(t, want)
			require.Equal(t, string(want), got.String())
		})
	}
}

// TestDrawingMustExist covers what a fixture with a drawing cannot show.
func TestDrawingMustExist(t *testing.T) {
	t.Parallel()
	tree, err := house.Load(os.DirFS(filepath.Join("testdata", "init")))
	require.NoError(t, err)
	problems := house.Rules()[0].Check(tree)
	require.Len(t, problems, 1)
	require.Equal(t, "ARCHITECTURE.md: file is missing", problems[0].String())
}
