package pipelinecache_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// directory is a cache as vyre-runtime left it, and what it put there.
type directory struct {
	Name, Producer, Archive string
	Write                   struct {
		Entries []struct {
			FP     string
			Len    int
			SHA256 string
		}
	}
}

// directories reads what lies in testdata, and in the folder that
// KVFERRY_GOLDEN_VYRE names.
func directories(t *testing.T) []directory {
	t.Helper()
	var all []directory
	for _, folder := range []string{"testdata", os.Getenv("KVFERRY_GOLDEN_VYRE")} {
		if folder == "" {
			continue
		}
		paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
		require.NoError(t, err)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(t, err)
			var d directory
			require.NoError(t, json.Unmarshal(text, &d), p)
			if d.Archive != "" { // else it lists traces
				d.Archive = filepath.Join(folder, d.Archive)
				all = append(all, d)
			}
		}
	}
	require.GreaterOrEqual(t, len(all), 4)
	return all
}

// files unpacks a directory.
func (d directory) files(t *testing.T) map[string][]byte {
	t.Helper()
	packed, err := os.ReadFile(d.Archive)
	require.NoError(t, err)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	files, r := map[string][]byte{}, tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // archive/tar returns it bare
			return files
		}
		require.NoError(t, err)
		files[h.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
}

// TestGolden: every file of the original is read, and made again byte for byte;
// those from before there were versions by their own reader alone.
func TestGolden(t *testing.T) {
	t.Parallel()
	legacies := 0
	for _, d := range directories(t) {
		t.Run(d.Name, func(t *testing.T) {
			legacy := strings.HasPrefix(d.Producer, "vyre-runtime 0.6.")
			files := d.files(t)
			require.Len(t, files, len(d.Write.Entries))
			for _, e := range d.Write.Entries {
				f, err := pipelinecache.ParseFingerprint(e.FP)
				require.NoError(t, err)
				file := files[f.String()+".bin"]
				parse, other := pipelinecache.ParseFrame, pipelinecache.ParseLegacy
				if legacy {
					parse, other = other, parse
					legacies++
				}
				artifact, err := parse(file)
				require.NoError(t, err, e.FP)
				require.Len(t, artifact, e.Len)
				sum := sha256.Sum256(artifact)
				require.Equal(t, e.SHA256, hex.EncodeToString(sum[:]))
				_, err = other(file)
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				if !legacy {
					require.Equal(t, file, frameOf(t, artifact))
				}
			}
		})
	}
	require.NotZero(t, legacies)
}
