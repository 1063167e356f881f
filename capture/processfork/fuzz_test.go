package processfork_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/processfork"
)

func typed(err error) bool {
	return errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported)
}

// FuzzManifest: whatever is read can be written, and what is written reads
// back as the same.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(base), true)
	f.Add([]byte(base), false)
	f.Fuzz(func(t *testing.T, data []byte, lenient bool) {
		o := processfork.Options{Lenient: lenient}
		g, x, err := processfork.DecodeManifest(data, o)
		if err != nil {
			require.True(t, typed(err), err)
			require.Nil(t, g)
			return
		}
		raw, err := x.Manifest.Encode()
		require.NoError(t, err)
		again, err := processfork.DecodePages(raw, processfork.Options{})
		require.NoError(t, err)
		rewritten, err := again.Encode()
		require.NoError(t, err)
		require.Equal(t, string(raw), string(rewritten))

		out, err := processfork.EncodeManifest(g)
		require.NoError(t, err)
		if !lenient {
			require.Equal(t, string(raw), string(out))
			require.NoError(t, x.Manifest.Check())
		}
		back, _, err := processfork.DecodeManifest(out, processfork.Options{})
		require.NoError(t, err)
		require.Equal(t, g, back)
	})
}

// FuzzImage: whatever is read can be written, and what is written reads back
// as the same.
func FuzzImage(f *testing.F) {
	f.Add([]byte(imageBase))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := processfork.DecodeImage(data, processfork.Options{Lenient: true})
		if err != nil {
			require.True(t, typed(err), err)
			return
		}
		out, err := m.Encode()
		require.NoError(t, err)
		back, err := processfork.DecodeImage(out, processfork.Options{Lenient: true})
		require.NoError(t, err)
		again, err := back.Encode()
		require.NoError(t, err)
		require.Equal(t, string(out), string(again))
	})
}

// FuzzTimestamp: a time that is read is written in the one form that reads
// back as the same.
func FuzzTimestamp(f *testing.F) {
	f.Add("2016-12-31T23:59:60.5+01:00")
	f.Fuzz(func(t *testing.T, s string) {
		ts, err := processfork.ParseTimestamp(s)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			return
		}
		out, err := ts.Append(nil)
		require.NoError(t, err)
		back, err := processfork.ParseTimestamp(string(out))
		require.NoError(t, err)
		require.Equal(t, ts, back)
	})
}

// TestCorpora sees to it that the fuzz targets start from something.
func TestCorpora(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"FuzzManifest", "FuzzImage", "FuzzTimestamp"} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		require.NoError(t, err)
		require.NotEmpty(t, seeds)
	}
}
