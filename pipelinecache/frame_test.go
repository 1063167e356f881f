package pipelinecache_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

// vectors are frames, and the footers of the unversioned files of the same
// artifacts, that vyre-runtime made itself.
var vectors = []struct{ artifact, header, footer, legacyFooter string }{
	{"", "565043300100", "8dde9a15dcd72c2e887c05c900a526f41c8721f50d9fe4058e811fc3ad2b7da8", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
	{"driver-pipeline-blob", "565043300100", "082f9916faaf19e03f66e1420c31ce99428864fc61f25ef142c76a1e0a99a3b3", "6166a39a8412f6e869e53e5d287006523d291f25513eeba421afbf8854a448d3"},
	{"compiled-artifact", "565043300100", "02d41bb80714b607786647f651153f9f99a859e572036eb0adcb77216456f1f1", "f6cc6a25d65c3c518a3a6d24a05e86fa0780aab7817ade511b32ff7efe7cb638"},
}

// stale is sound and of schema 0.
const stale = "565043300000" + "636f6d70696c65642d6172746966616374" + "147ff4d564a68ed7727a803ac6d7c0d46cfdd73ae467cd2837db3b1f3b865d18"

func frameOf(t testing.TB, artifact []byte) []byte {
	t.Helper()
	frame, err := pipelinecache.AppendFrame(nil, artifact)
	require.NoError(t, err)
	return frame
}

func TestFrameVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		want := slices.Concat(unhex(t, v.header), []byte(v.artifact), unhex(t, v.footer))
		require.Equal(t, want, frameOf(t, []byte(v.artifact)))
		got, err := pipelinecache.ParseFrame(want)
		require.NoError(t, err)
		require.Equal(t, v.artifact, string(got))
		require.True(t, pipelinecache.HasMagic(want))

		legacy := slices.Concat([]byte(v.artifact), unhex(t, v.legacyFooter))
		got, err = pipelinecache.ParseLegacy(legacy)
		require.NoError(t, err)
		require.Equal(t, v.artifact, string(got))
		require.False(t, pipelinecache.HasMagic(legacy))
		_, err = pipelinecache.ParseFrame(legacy)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		_, err = pipelinecache.ParseLegacy(want)
		require.ErrorIs(t, err, kvferry.ErrCorrupt, "a frame verifies as an unversioned file, too, with six bytes too many")
	}
	require.Len(t, frameOf(t, nil), pipelinecache.MinFrameBytes)

	_, err := pipelinecache.ParseFrame(unhex(t, stale))
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.NotErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = pipelinecache.ParseLegacy(unhex(t, stale))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// TestLegacyWithMagic: an unversioned artifact that happens to begin like a frame
// is one, byte for byte, and is read as one.
func TestLegacyWithMagic(t *testing.T) {
	t.Parallel()
	artifact := []byte("VPC0\x01\x00rest")
	file := slices.Concat(artifact, hash(artifact))
	got, err := pipelinecache.ParseFrame(file)
	require.NoError(t, err)
	require.Equal(t, "rest", string(got))
	_, err = pipelinecache.ParseLegacy(file)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// TestFrameDamage: every byte of a frame counts, and so does its end.
func TestFrameDamage(t *testing.T) {
	t.Parallel()
	whole := frameOf(t, []byte("driver-pipeline-blob"))
	legacy := slices.Concat([]byte("driver-pipeline-blob"), hash([]byte("driver-pipeline-blob")))
	for _, c := range []struct {
		file  []byte
		parse func([]byte) ([]byte, error)
	}{{whole, pipelinecache.ParseFrame}, {legacy, pipelinecache.ParseLegacy}} {
		for bit := range 8 * len(c.file) {
			b := slices.Clone(c.file)
			b[bit/8] ^= 1 << (bit % 8)
			requireCorrupt(t, c.parse, b)
		}
		for n := range len(c.file) {
			requireCorrupt(t, c.parse, c.file[:n])
			requireCorrupt(t, c.parse, c.file[n+1:])
		}
		for _, more := range [][]byte{{0}, {0xff}, make([]byte, 32), make([]byte, 1000)} {
			requireCorrupt(t, c.parse, slices.Concat(c.file, more))
		}
	}
	requireCorrupt(t, pipelinecache.ParseFrame, nil)
}

func requireCorrupt(t testing.TB, parse func([]byte) ([]byte, error), b []byte) {
	t.Helper()
	got, err := parse(b)
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "%x", b)
	require.Nil(t, got)
}

// TestFrameHeader: a sound hash does not excuse another header.
func TestFrameHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header string
		want   error
	}{
		{"VPC0\x00\x00", kvferry.ErrUnsupported}, {"VPC0\x02\x00", kvferry.ErrUnsupported},
		{"VPC0\x00\x01", kvferry.ErrUnsupported}, {"VPC0\x01\x01", kvferry.ErrUnsupported},
		{"VPC1\x01\x00", kvferry.ErrCorrupt}, {"vpc0\x01\x00", kvferry.ErrCorrupt}, {"\x00\x00\x00\x00\x01\x00", kvferry.ErrCorrupt},
	} {
		b := []byte(c.header + "artifact")
		_, err := pipelinecache.ParseFrame(append(b, hash(b)...))
		require.ErrorIs(t, err, c.want, "%q", c.header)
	}
}

// TestFrameLengths: the longest artifact is whole, and one byte more is refused
// both ways.
func TestFrameLengths(t *testing.T) {
	t.Parallel()
	artifact := make([]byte, pipelinecache.MaxArtifactBytes+1)
	longest := artifact[:pipelinecache.MaxArtifactBytes]
	require.NoError(t, pipelinecache.CheckArtifact(longest))
	require.ErrorIs(t, pipelinecache.CheckArtifact(artifact), kvferry.ErrInvalid)
	frame := frameOf(t, longest)
	require.Len(t, frame, pipelinecache.MaxFrameBytes)
	require.Equal(t, 67_108_902, pipelinecache.MaxFrameBytes)
	got, err := pipelinecache.ParseFrame(frame)
	require.NoError(t, err)
	require.True(t, bytes.Equal(longest, got))

	dst, err := pipelinecache.AppendFrame([]byte("before"), artifact)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.Equal(t, "before", string(dst))

	long := slices.Concat(frame[:len(frame)-32], []byte{0})
	_, err = pipelinecache.ParseFrame(slices.Concat(long, hash(long)))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = pipelinecache.ParseLegacy(slices.Concat(artifact, hash(artifact)))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = pipelinecache.ParseLegacy(slices.Concat(longest, hash(longest)))
	require.NoError(t, err)
}

// TestFrameMemory: a frame is appended, and what is parsed lies in the frame
// without room to append into it.
func TestFrameMemory(t *testing.T) {
	t.Parallel()
	b, err := pipelinecache.AppendFrame([]byte("before"), []byte("artifact"))
	require.NoError(t, err)
	require.Equal(t, "before", string(b[:6]))
	require.Equal(t, frameOf(t, []byte("artifact")), b[6:])
	got, err := pipelinecache.ParseFrame(b[6:])
	require.NoError(t, err)
	require.Same(t, &b[12], &got[0])
	require.Equal(t, len(got), cap(got))

	legacy := slices.Concat([]byte("artifact"), hash([]byte("artifact")))
	got, err = pipelinecache.ParseLegacy(legacy)
	require.NoError(t, err)
	require.Same(t, &legacy[0], &got[0])
	require.Equal(t, len(got), cap(got))
}
