package pipelinetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Directory is a cache as vyre-runtime left it, and what it put there.
type Directory struct {
	Name, Producer string
	Archive        string // path of the packed files
	Write          struct {
		Entries []Entry
	}
}

// Entry is an artifact that vyre-runtime wrote.
type Entry struct {
	FP     string // its fingerprint, as text
	Len    int
	SHA256 string // of the artifact, in hexadecimal digits
}

// Directories reads what is described by the JSON files of the given folders;
// folders without a name are passed over.
func Directories(tb testing.TB, folders ...string) []Directory {
	tb.Helper()
	var all []Directory
	for _, folder := range folders {
		if folder == "" {
			continue
		}
		paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
		require.NoError(tb, err)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(tb, err)
			var d Directory
			require.NoError(tb, json.Unmarshal(text, &d), p)
			if d.Archive != "" { // else it lists traces
				d.Archive = filepath.Join(folder, d.Archive)
				all = append(all, d)
			}
		}
	}
	require.GreaterOrEqual(tb, len(all), 4)
	return all
}

// Legacy tells whether the files are from before there were versions.
func (d Directory) Legacy() bool { return strings.HasPrefix(d.Producer, "vyre-runtime 0.6.") }

// Files unpacks the directory.
func (d Directory) Files(tb testing.TB) map[string][]byte {
	tb.Helper()
	packed, err := os.ReadFile(d.Archive)
	require.NoError(tb, err)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(tb, err)
	files, r := map[string][]byte{}, tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(tb, err)
		files[filepath.Base(h.Name)], err = io.ReadAll(r)
		require.NoError(tb, err)
	}
}
