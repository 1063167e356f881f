package pipelinecache_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

var example = pipelinecache.Kernel{
	PTX:   []byte(".version 8.0\n"),
	Major: 9, Minor: 0,
	DriverVersion: 13000,
	LinkOptions:   []string{"-O3", "--maxrregcount=64"},
}

// recipe is what is hashed of the example, written down by hand from the
// package comment.
const recipe = "" +
	"1d00000000000000" + "6b766665727279206b65726e656c2066696e6765727072696e74207631" + // kvferry kernel fingerprint v1
	"0d00000000000000" + "2e76657273696f6e20382e300a" + // .version 8.0
	"0300000000000000" + "392e30" + // 9.0
	"0500000000000000" + "3133303030" + // 13000
	"0200000000000000" +
	"0300000000000000" + "2d4f33" + // -O3
	"1100000000000000" + "2d2d6d617872726567636f756e743d3634" // --maxrregcount=64

// TestKernelVectors: the sums were computed by another implementation of BLAKE3.
func TestKernelVectors(t *testing.T) {
	t.Parallel()
	b, err := hex.DecodeString(recipe)
	require.NoError(t, err)
	const want = "88c90115d825536155b002ee27ebfb1e7bf1274d66be7429fbe0f933f668c097"
	require.Equal(t, want, hex.EncodeToString(hash(b)))
	require.Equal(t, want, example.Fingerprint().String())
	require.Equal(t, "b106e9a25d6d9ab670f4cf073811ddbfc9754596b128b3ec2c9f3ce1e29957d7", pipelinecache.Kernel{}.Fingerprint().String())
}

// TestUpstreamFingerprint holds what vyre-runtime's tests of fingerprints
// expect, said of kernels.
func TestUpstreamFingerprint(t *testing.T) {
	t.Parallel()
	text := example.Fingerprint().String()
	t.Run("deterministic", func(t *testing.T) {
		again := example
		again.PTX = slices.Clone(example.PTX)
		again.LinkOptions = slices.Clone(example.LinkOptions)
		require.Equal(t, example.Fingerprint(), again.Fingerprint())
	})
	t.Run("64_hex_chars", func(t *testing.T) { require.Regexp(t, `^[0-9a-f]{64}$`, text) })
	t.Run("lower_case", func(t *testing.T) { require.Equal(t, strings.ToLower(text), text) })
	t.Run("differs_for_different_stored_constant", func(t *testing.T) {
		a, b := example, example
		a.PTX, b.PTX = []byte("mov.u32 %r1, 1;"), []byte("mov.u32 %r1, 2;")
		require.NotEqual(t, a.Fingerprint(), b.Fingerprint())
	})
	t.Run("differs_for_different_workgroup_shape", func(t *testing.T) {
		a, b := example, example
		a.PTX, b.PTX = []byte(".reqntid 64, 1, 1"), []byte(".reqntid 1, 64, 1")
		require.NotEqual(t, a.Fingerprint(), b.Fingerprint())
	})
	t.Run("equals_the_artifact_digest", func(t *testing.T) {
		b, err := hex.DecodeString(recipe)
		require.NoError(t, err)
		f := example.Fingerprint()
		require.Equal(t, hash(b), f[:])
	})
}

// TestEveryFieldCounts: no two of these kernels, which say nearly the same with
// other boundaries, have the same fingerprint.
func TestEveryFieldCounts(t *testing.T) {
	t.Parallel()
	options := [][]string{nil, {""}, {"", ""}}
	for _, text := range []string{"a", "ab", "abc", "9.0", "13000"} {
		for i := range len(text) + 1 {
			options = append(options, []string{text[:i], text[i:]})
		}
		options = append(options, []string{text})
	}
	var nested []byte // an option that looks like two
	for _, o := range []string{"a", "b"} {
		nested = binary.LittleEndian.AppendUint64(nested, uint64(len(o)))
		nested = append(nested, o...)
	}
	options = append(options, []string{"a", "b"}, []string{string(nested)}, []string{string(nested[8:])})
	devices := [][3]int{{1, 11, 1}, {11, 1, 1}, {1, 1, 11}, {1, 1, 1}, {11, 11, 11}, {0, 0, 0}, {9, 0, 13000}, {90, 13, 0}, {-1, 1, 1}, {1, -1, 1}}
	ptx := []string{"", "a", "ab", "abc", "\x00", "abc\x03\x00\x00\x00\x00\x00\x00\x009.0"}

	seen := map[pipelinecache.Fingerprint]pipelinecache.Kernel{}
	texts := map[string]bool{}
	for _, o := range options {
		text := fmt.Sprintf("%q", o)
		if texts[text] {
			continue // the same list, split another way
		}
		texts[text] = true
		for _, d := range devices {
			for _, p := range ptx {
				k := pipelinecache.Kernel{PTX: []byte(p), Major: d[0], Minor: d[1], DriverVersion: d[2], LinkOptions: o}
				f := k.Fingerprint()
				require.NotContains(t, seen, f, "%+v and %+v", k, seen[f])
				seen[f] = k
			}
		}
	}
	require.Greater(t, len(seen), 1000)
}

func TestParseFingerprint(t *testing.T) {
	t.Parallel()
	f := example.Fingerprint()
	got, err := pipelinecache.ParseFingerprint(f.String())
	require.NoError(t, err)
	require.Equal(t, f, got)
	got, err = pipelinecache.ParseFingerprint(strings.Repeat("0", 64))
	require.NoError(t, err)
	require.Zero(t, got)

	text := f.String()
	for _, wrong := range []string{
		"", "0", text[:63], text + "0", text[:62], text + "00", strings.ToUpper(text),
		text[:63] + "A", text[:63] + "g", "0x" + text[:62], text[:63] + " ", " " + text[1:], text[:62] + "é", "blake3:" + text,
		strings.Repeat("f", 1<<16),
	} {
		got, err := pipelinecache.ParseFingerprint(wrong)
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%.80q", wrong)
		require.Zero(t, got)
		require.Less(t, len(err.Error()), 400)
	}
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add(example.Fingerprint().String())
	f.Add("AB")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := pipelinecache.ParseFingerprint(text)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			require.Zero(t, got)
			return
		}
		require.Equal(t, text, got.String())
	})
}
