package softcuda_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNothingShipsIt: with or without the tag, no package of the module imports
// the software driver but for its tests.
func TestNothingShipsIt(t *testing.T) {
	const driver = "github.com/kvferry/kvferry/internal/softcuda"
	for _, tags := range []string{"", "cuda"} {
		list := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", tags, "-json=ImportPath,Imports", "./...")
		list.Dir = filepath.Join("..", "..")
		list.Env = append(os.Environ(), "CGO_ENABLED=1") // lists files with cgo, and compiles nothing
		out, err := list.Output()
		require.NoError(t, err)
		found := 0
		for d := json.NewDecoder(strings.NewReader(string(out))); ; found++ {
			var p struct {
				ImportPath string
				Imports    []string
			}
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			require.False(t, slices.Contains(p.Imports, driver), "%s imports the software driver (tags %q)", p.ImportPath, tags)
		}
		require.Greater(t, found, 30)
	}
}
