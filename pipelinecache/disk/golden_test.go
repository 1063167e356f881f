package disk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

// folders are those with files of vyre-runtime; the tests of the contract have
// the directories.
func folders() []string {
	return []string{"testdata", "../testdata", os.Getenv("KVFERRY_GOLDEN_VYRE")}
}

// TestGoldenDirectories reads what vyre-runtime wrote, of both generations, and
// writes the same files.
func TestGoldenDirectories(t *testing.T) {
	t.Parallel()
	for _, g := range pipelinetest.Directories(t, folders()...) {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			root, again := t.TempDir(), t.TempDir()
			for name, file := range g.Files(t) {
				require.NoError(t, os.WriteFile(filepath.Join(root, name), file, 0o600))
			}
			require.NotEmpty(t, g.Write.Entries)
			legacy := g.Legacy()
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
