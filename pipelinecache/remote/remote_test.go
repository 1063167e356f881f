package remote_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// metadata is what servers of these tests say.
func metadata() remote.Metadata {
	return remote.Metadata{Provenance: "git:abc123", Device: "cuda-sm90"}
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

func frame(t testing.TB, artifact []byte) []byte {
	t.Helper()
	b, err := pipelinecache.AppendFrame(nil, artifact)
	require.NoError(t, err)
	return b
}

// open opens a directory to serve.
func open(t testing.TB, root string, o disk.Options) *disk.Store {
	t.Helper()
	o.ReadOnly = true
	s, err := disk.Open(root, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newHandler(t testing.TB, source remote.Source) *remote.Handler {
	t.Helper()
	h, err := remote.NewHandler(source, remote.HandlerOptions{Metadata: metadata(), MaxWait: time.Minute})
	require.NoError(t, err)
	return h
}

func newClient(t testing.TB, base string, o remote.Options) *remote.Client {
	t.Helper()
	c, err := remote.NewClient(base, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// serve runs a server until the test ends.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// seed puts a file into a directory that is served.
func seed(t testing.TB, root string, f pipelinecache.Fingerprint, file []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(root, f.String()+".bin"), file, 0o600))
}

func requireHas(t testing.TB, c *remote.Client, f pipelinecache.Fingerprint, want []byte) {
	t.Helper()
	got, err := c.Get(t.Context(), f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%d bytes, want %d, or others", len(got), len(want))
}

func requireMiss(t testing.TB, c *remote.Client, f pipelinecache.Fingerprint, why error) {
	t.Helper()
	got, err := c.Get(t.Context(), f)
	require.ErrorIs(t, err, why)
	require.Nil(t, got)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pipelinetest.Run(t, pipelinetest.Config{
		Open: func(t testing.TB, s pipelinetest.Setup) pipelinecache.Store {
			server := serve(t, newHandler(t, open(t, s.Dir, disk.Options{})))
			return newClient(t, server.URL, remote.Options{Required: metadata()})
		},
		Seed: func(t testing.TB, s pipelinetest.Setup, f pipelinecache.Fingerprint, artifact []byte) {
			seed(t, s.Dir, f, frame(t, artifact))
		},
		Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Persists, pipelinetest.ReadOnly},
	})
}

// TestTLS asks over https, of both versions of HTTP; a certificate that nobody
// vouches for is a failure.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		root := t.TempDir()
		seed(t, root, key(1), frame(t, noise(1, 300_000)))
		seed(t, root, key(2), frame(t, nil))
		versions := make(chan int, 10)
		h := newHandler(t, open(t, root, disk.Options{}))
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			versions <- r.ProtoMajor
			h.ServeHTTP(w, r)
		}))
		s.EnableHTTP2 = http2
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // the stranger below is told
		s.StartTLS()
		t.Cleanup(s.Close)
		trusted, ok := s.Client().Transport.(*http.Transport)
		require.True(t, ok)
		c := newClient(t, s.URL, remote.Options{Required: metadata(), TLS: trusted.TLSClientConfig})
		requireHas(t, c, key(1), noise(1, 300_000))
		requireHas(t, c, key(2), nil)
		require.Equal(t, http2, <-versions == 2)

		stranger := newClient(t, s.URL, remote.Options{})
		_, err := stranger.Get(t.Context(), key(1))
		var failure *remote.TransportError
		require.ErrorAs(t, err, &failure)
		require.ErrorContains(t, err, "certificate")
	}
}
