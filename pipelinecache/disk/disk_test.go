package disk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childRoot) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// open opens a store that is closed with the test.
func open(t testing.TB, root string, o disk.Options) *disk.Store {
	t.Helper()
	s, err := disk.Open(root, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// key returns fingerprints that differ all over, as hashes do.
func key(i int) pipelinecache.Fingerprint {
	return pipelinecache.Fingerprint(noise(uint64(i), pipelinecache.FingerprintBytes))
}

// noise returns n bytes that seed alone decides.
func noise(seed uint64, n int) []byte {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(b) // never fails
	return b
}

func file(root string, f pipelinecache.Fingerprint) string {
	return filepath.Join(root, f.String()+".bin")
}

func aside(root string, f pipelinecache.Fingerprint) string {
	return filepath.Join(root, "."+f.String()+".bin.corrupt")
}

func frame(t testing.TB, artifact []byte) []byte {
	t.Helper()
	b, err := pipelinecache.AppendFrame(nil, artifact)
	require.NoError(t, err)
	return b
}

func put(t testing.TB, s pipelinecache.Store, f pipelinecache.Fingerprint, artifact []byte) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), f, artifact))
}

func requireHas(t testing.TB, s pipelinecache.Store, f pipelinecache.Fingerprint, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%d bytes, want %d, or others", len(got), len(want))
}

func requireMiss(t testing.TB, s pipelinecache.Store, f pipelinecache.Fingerprint, why error) {
	t.Helper()
	got, err := s.Get(t.Context(), f)
	require.ErrorIs(t, err, why)
	require.Nil(t, got)
}

func names(t testing.TB, root string) []string {
	t.Helper()
	all, err := os.ReadDir(root)
	require.NoError(t, err)
	out := []string{}
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]disk.Options{
		"plain":       {},
		"unversioned": {Unversioned: true},
		"budget":      {BudgetBytes: 64 << 20},
		"leave":       {Damaged: disk.Leave},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.Run(t, pipelinetest.Config{
				Open: func(t testing.TB, s pipelinetest.Setup) pipelinecache.Store {
					return open(t, s.Dir, o)
				},
				Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Persists},
			})
		})
	}
}

func TestConformanceReadOnly(t *testing.T) {
	t.Parallel()
	pipelinetest.Run(t, pipelinetest.Config{
		Open: func(t testing.TB, s pipelinetest.Setup) pipelinecache.Store {
			return open(t, s.Dir, disk.Options{ReadOnly: true})
		},
		Seed: func(t testing.TB, s pipelinetest.Setup, f pipelinecache.Fingerprint, artifact []byte) {
			require.NoError(t, os.WriteFile(file(s.Dir, f), frame(t, artifact), 0o600))
		},
		Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Persists, pipelinetest.ReadOnly},
	})
}

// TestFileBytes holds the vectors of the format.
func TestFileBytes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{})
	for i, v := range []struct{ artifact, file string }{
		{"", "5650433001008dde9a15dcd72c2e887c05c900a526f41c8721f50d9fe4058e811fc3ad2b7da8"},
		{"driver-pipeline-blob", "5650433001006472697665722d706970656c696e652d626c6f62082f9916faaf19e03f66e1420c31ce99428864fc61f25ef142c76a1e0a99a3b3"},
		{"compiled-artifact", "565043300100636f6d70696c65642d617274696661637402d41bb80714b607786647f651153f9f99a859e572036eb0adcb77216456f1f1"},
	} {
		put(t, s, key(i), []byte(v.artifact))
		got, err := os.ReadFile(file(root, key(i)))
		require.NoError(t, err)
		require.Equal(t, v.file, hex.EncodeToString(got))
		got, err = s.Frame(t.Context(), key(i))
		require.NoError(t, err)
		require.Equal(t, v.file, hex.EncodeToString(got))
	}
	put(t, s, pipelinecache.Fingerprint{}, nil)
	require.FileExists(t, filepath.Join(root, "0000000000000000000000000000000000000000000000000000000000000000.bin"))
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []disk.Options{{BudgetBytes: -1}, {StaleAge: -1}, {Damaged: 3}} {
		_, err := disk.Open(t.TempDir(), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	_, err := disk.Open(filepath.Join(t.TempDir(), "none"), disk.Options{ReadOnly: true})
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	root := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(root, nil, 0o600))
	_, err = disk.Open(root, disk.Options{})
	require.Error(t, err)
	open(t, filepath.Join(t.TempDir(), "made", "with", "parents"), disk.Options{})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s, err := disk.Open(t.TempDir(), disk.Options{})
	require.NoError(t, err)
	put(t, s, key(1), nil)
	require.NoError(t, s.Close())
	requireMiss(t, s, key(1), kvferry.ErrClosed)
	require.ErrorIs(t, s.Put(t.Context(), key(1), nil), kvferry.ErrClosed)
	require.ErrorIs(t, s.Flush(t.Context()), kvferry.ErrClosed)
	require.False(t, s.DurabilityReport().Durable)
	_, err = s.List(t.Context())
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.ErrorIs(t, s.Close(), kvferry.ErrClosed)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, open(t, root, disk.Options{}), key(1), []byte("there"))
	require.NoError(t, os.WriteFile(file(root, key(2)), noise(2, 100), 0o600))
	before := names(t, root)
	s := open(t, root, disk.Options{ReadOnly: true, BudgetBytes: 1})
	requireHas(t, s, key(1), []byte("there"))
	requireMiss(t, s, key(2), kvferry.ErrCorrupt)
	require.ErrorIs(t, s.Put(t.Context(), key(1), []byte("new")), kvferry.ErrReadOnly)
	require.ErrorIs(t, s.Put(t.Context(), key(1), make([]byte, pipelinecache.MaxArtifactBytes+1)), kvferry.ErrReadOnly)
	require.NoError(t, s.Flush(t.Context()))
	require.Equal(t, before, names(t, root))
	require.Equal(t, pipelinecache.Metrics{Lookups: 2, Hits: 1, Misses: 1, RejectedPuts: 2, Flushes: 1}, s.Metrics())
}

func newDice(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
