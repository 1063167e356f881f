package disk_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// FuzzFile puts any bytes under the name of an artifact. What is served is what
// a frame or an unversioned file around it would be, byte for byte.
func FuzzFile(f *testing.F) {
	for _, b := range damages(f) {
		f.Add(b, true)
	}
	f.Add(frame(f, []byte("artifact")), false)
	f.Add(footed(f, []byte("unversioned")), true)
	f.Add(footed(f, []byte("VPC0\x02\x00artifact")), true)
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, unversioned bool) {
		k := key(1)
		require.NoError(t, os.WriteFile(file(root, k), b, 0o600))
		s, err := disk.Open(root, disk.Options{Unversioned: unversioned, Damaged: disk.Remove})
		require.NoError(t, err)
		got, err := s.Get(t.Context(), k)
		if err != nil {
			require.Nil(t, got)
		} else if pipelinecache.HasMagic(b) {
			require.Equal(t, frame(t, got), b)
		} else {
			require.True(t, unversioned)
			require.Equal(t, footed(t, got), b)
		}
		require.NoError(t, s.Verify(t.Context(), func(x disk.Finding) error {
			require.Equal(t, err == nil || x.State == disk.Unversioned || x.State == disk.OtherSchema, x.State != disk.Corrupt)
			return nil
		}))
		require.NoError(t, s.Close())
	})
}
