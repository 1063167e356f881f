package pipelinecache_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

// TestGolden: every file of the original is read, and made again byte for byte;
// those from before there were versions by their own reader alone.
func TestGolden(t *testing.T) {
	t.Parallel()
	legacies := 0
	for _, d := range pipelinetest.Directories(t, "testdata", os.Getenv("KVFERRY_GOLDEN_VYRE")) {
		t.Run(d.Name, func(t *testing.T) {
			legacy := d.Legacy()
			files := d.Files(t)
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
