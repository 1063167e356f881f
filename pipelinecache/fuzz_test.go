package pipelinecache_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// footed replaces the last 32 bytes by the hash of those before, so that a fuzzer
// comes past it.
func footed(b []byte) []byte {
	if len(b) < 32 {
		return b
	}
	body := b[:len(b)-32]
	return slices.Concat(body, hash(body))
}

// FuzzParseFrame: what is parsed makes the same frame again, and nothing is both
// a frame and an unversioned file.
func FuzzParseFrame(f *testing.F) {
	for _, v := range vectors {
		f.Add(slices.Concat(unhex(f, v.header), []byte(v.artifact), unhex(f, v.footer)), false)
	}
	f.Add(unhex(f, stale), false)
	f.Add(unhex(f, stale), true)
	f.Fuzz(func(t *testing.T, b []byte, sound bool) {
		if sound {
			b = footed(b)
		}
		before := slices.Clone(b)
		artifact, err := pipelinecache.ParseFrame(b)
		require.Equal(t, before, b)
		if err != nil {
			require.NotEqual(t, errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrUnsupported), "%v", err)
			require.Nil(t, artifact)
			return
		}
		require.Equal(t, b, frameOf(t, artifact))
		_, err = pipelinecache.ParseLegacy(b)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	})
}

// FuzzParseLegacy: what is parsed is all but the hash, and the hash is its own.
func FuzzParseLegacy(f *testing.F) {
	for _, v := range vectors {
		f.Add(slices.Concat([]byte(v.artifact), unhex(f, v.legacyFooter)), false)
	}
	f.Add(unhex(f, stale), true)
	f.Fuzz(func(t *testing.T, b []byte, sound bool) {
		if sound {
			b = footed(b)
		}
		before := slices.Clone(b)
		artifact, err := pipelinecache.ParseLegacy(b)
		require.Equal(t, before, b)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.Nil(t, artifact)
			return
		}
		require.Equal(t, b, slices.Concat(artifact, hash(artifact)))
		require.False(t, pipelinecache.HasMagic(b))
		_, err = pipelinecache.ParseFrame(b)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	})
}
