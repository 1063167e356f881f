package disk_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// folders are those with files of vyre-runtime.
func folders() []string {
	return append([]string{"testdata"}, filepath.SplitList(os.Getenv("KVFERRY_GOLDEN_VYRE"))...)
}

// golden is a directory as vyre-runtime left it, and what it put there.
type golden struct {
	Name, Producer, Archive string
	Write                   struct {
		Entries []struct {
			FP     string
			Len    int
			SHA256 string
		}
	}
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	all := map[string]golden{}
	for _, folder := range folders() {
		paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
		require.NoError(t, err)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(t, err)
			var g golden
			require.NoError(t, json.Unmarshal(text, &g), p)
			if g.Archive != "" { // else it lists traces
				g.Archive = filepath.Join(folder, g.Archive)
				all[p] = g
			}
		}
	}
	require.GreaterOrEqual(t, len(all), 4)
	return all
}

func unpack(t *testing.T, archive, root string) {
	t.Helper()
	packed, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { require.NoError(t, packed.Close()) }()
	z, err := gzip.NewReader(packed)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		require.NotContains(t, h.Name, "..")
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, filepath.Base(h.Name)), b, 0o600))
	}
}

// TestGoldenDirectories reads what vyre-runtime wrote, of both generations, and
// writes the same files.
func TestGoldenDirectories(t *testing.T) {
	t.Parallel()
	for path, g := range goldens(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			root, again := t.TempDir(), t.TempDir()
			unpack(t, g.Archive, root)
			require.NotEmpty(t, g.Write.Entries)
			legacy := strings.HasSuffix(g.Producer, " 0.6.5")
			s, plain := open(t, root, disk.Options{Unversioned: true}), open(t, root, disk.Options{})
			ours := open(t, again, disk.Options{})
			for _, e := range g.Write.Entries {
				f, err := pipelinecache.ParseFingerprint(e.FP)
				require.NoError(t, err)
				got, err := s.Get(t.Context(), f)
				require.NoError(t, err)
				require.Len(t, got, e.Len)
				sum := sha256.Sum256(got)
				require.Equal(t, e.SHA256, hex.EncodeToString(sum[:]))
				put(t, ours, f, got)
				if legacy {
					requireMiss(t, plain, f, kvferry.ErrUnsupported)
				} else {
					requireHas(t, plain, f, got)
				}
				framed, err := s.Frame(t.Context(), f)
				require.NoError(t, err)
				require.Equal(t, frame(t, got), framed)
			}
			require.Equal(t, names(t, root), names(t, again), "the same names, and the unversioned ones stay")
			for _, name := range names(t, root) {
				theirs, err := os.ReadFile(filepath.Join(root, name))
				require.NoError(t, err)
				mine, err := os.ReadFile(filepath.Join(again, name))
				require.NoError(t, err)
				require.Equal(t, !legacy, bytes.Equal(theirs, mine))
			}
		})
	}
}
