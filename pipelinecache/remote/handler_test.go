package remote_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// ask hands one request to a handler.
func ask(t testing.TB, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func path(i int) string { return "/" + key(i).String() + ".bin" }

func TestHandlerOptions(t *testing.T) {
	t.Parallel()
	m := metadata()
	for _, o := range []remote.HandlerOptions{
		{}, {Metadata: remote.Metadata{Provenance: "x"}}, {Metadata: remote.Metadata{Device: "x"}},
		{Metadata: remote.Metadata{Provenance: "a\r\nb: c", Device: "x"}}, {Metadata: remote.Metadata{Provenance: "é", Device: "x"}},
		{Metadata: m, MaxConcurrent: -1}, {Metadata: m, MaxWait: -1}, {Metadata: m, WriteTimeout: -1},
	} {
		_, err := remote.NewHandler(nil, o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestOriginalClient sends the bytes that vyre-runtime 0.7.2 sends, and looks at
// those that come back.
func TestOriginalClient(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	want := frame(t, noise(1, 5000))
	seed(t, root, key(1), want)
	s := serve(t, newHandler(t, open(t, root, disk.Options{})))
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	in := bufio.NewReader(c)
	for range 3 { // on one connection
		_, err = io.WriteString(c, "GET "+path(1)+" HTTP/1.1\r\nhost: "+s.Listener.Addr().String()+"\r\naccept-encoding: gzip\r\naccept: */*\r\nuser-agent: ureq/3.3.0\r\n\r\n")
		require.NoError(t, err)
		status, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 OK\r\n", status)
		headers := map[string]string{}
		for {
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			if line == "\r\n" {
				break
			}
			name, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
			require.True(t, ok)
			headers[strings.ToLower(name)] = text
		}
		require.Equal(t, key(1).String(), headers["x-vyre-cache-fingerprint"])
		require.Equal(t, "git:abc123", headers["x-vyre-cache-source-provenance"])
		require.Equal(t, "cuda-sm90", headers["x-vyre-cache-device-compatibility"])
		require.Equal(t, strconv.Itoa(len(want)), headers["content-length"])
		require.NotContains(t, headers, "content-encoding")
		got := make([]byte, len(want))
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestHandlerAnswers asks for everything there is and is not.
func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	sound := frame(t, []byte("artifact"))
	seed(t, root, key(1), sound)
	damaged := append([]byte(nil), sound...)
	damaged[8] ^= 1
	seed(t, root, key(2), damaged)
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, sound, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, key(3).String()+".bin")))
	require.NoError(t, os.Mkdir(filepath.Join(root, key(4).String()+".bin"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "secret.txt"), sound, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "."+key(5).String()+".bin.corrupt"), sound, 0o600))
	h := newHandler(t, open(t, root, disk.Options{}))

	for _, p := range []string{
		path(2), path(3), path(4), path(5), path(9), "/", "//", "/.", "/..", "/secret.txt", "/../" + filepath.Base(root) + path(1),
		"/" + strings.ToUpper(key(1).String()) + ".bin", "/" + key(1).String(), "/" + key(1).String() + ".bin/", "/x" + path(1), "/" + path(1),
		"/" + key(1).String() + ".BIN", "/." + key(5).String() + ".bin.corrupt", "/%2e%2e" + path(1), "/" + key(1).String()[:63] + "%00.bin",
	} {
		w := ask(t, h, http.MethodGet, p)
		require.Equal(t, http.StatusNotFound, w.Code, p)
		require.Empty(t, w.Header().Get(remote.FingerprintHeader))
		require.Equal(t, "Not Found\n", w.Body.String(), "nothing is told of why")
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		w := ask(t, h, method, path(1))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	for _, r := range []string{"bytes=0-10", "bytes=0-", "nonsense"} {
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, ask(t, h, http.MethodGet, path(1), "Range", r).Code)
	}
	require.Equal(t, uint64(5), h.Served().Missing, "three files that cannot be used, and two that are not there")
	require.Zero(t, h.Served().Artifacts)

	get, head := ask(t, h, http.MethodGet, path(1)), ask(t, h, http.MethodHead, path(1)+"?query=ignored")
	require.Equal(t, http.StatusOK, get.Code)
	require.Equal(t, sound, get.Body.Bytes())
	require.Equal(t, http.StatusOK, head.Code)
	require.Empty(t, head.Body.Bytes())
	require.Equal(t, get.Header(), head.Header())
	require.Equal(t, http.StatusNotFound, ask(t, h, http.MethodHead, path(2)).Code, "a HEAD tells what a GET would")
	require.Equal(t, uint64(1), h.Served().Artifacts, "a HEAD serves none")
	require.Equal(t, uint64(len(sound)), h.Served().Bytes)
}

// TestUnversionedIsReframed: a directory of vyre-runtime 0.6 is served to
// clients of 0.7.
func TestUnversionedIsReframed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	framed := frame(t, nil)
	seed(t, root, key(1), []byte("\xaf\x13\x49\xb9\xf5\xf9\xa1\xa6\xa0\x40\x4d\xea\x36\xdc\xc9\x49\x9b\xcb\x25\xc9\xad\xc1\x12\xb7\xcc\x9a\x93\xca\xe4\x1f\x32\x62"))
	h := newHandler(t, open(t, root, disk.Options{Unversioned: true}))
	require.Equal(t, framed, ask(t, h, http.MethodGet, path(1)).Body.Bytes())
	h = newHandler(t, open(t, root, disk.Options{}))
	require.Equal(t, http.StatusNotFound, ask(t, h, http.MethodGet, path(1)).Code)
}

// sourceFunc is a source that a test decides about.
type sourceFunc func(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error)

func (s sourceFunc) Frame(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	return s(ctx, f)
}

// TestHandlerTurns: no more are served at a time than the options say, and who
// waits too long, or goes away, is sent away.
func TestHandlerTurns(t *testing.T) {
	t.Parallel()
	inside, release := make(chan struct{}, 10), make(chan struct{})
	h, err := remote.NewHandler(sourceFunc(func(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
		inside <- struct{}{}
		<-release
		return frame(t, nil), nil
	}), remote.HandlerOptions{Metadata: metadata(), MaxConcurrent: 2, MaxWait: time.Millisecond})
	require.NoError(t, err)
	var codes [2]int
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = ask(t, h, http.MethodGet, path(1)).Code })
	}
	<-inside
	<-inside
	w := ask(t, h, http.MethodGet, path(1))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.Equal(t, http.StatusNotFound, ask(t, h, http.MethodGet, "/nothing").Code, "this needs no turn")
	close(release)
	wg.Wait()
	require.Equal(t, [2]int{200, 200}, codes)
	require.Equal(t, http.StatusOK, ask(t, h, http.MethodGet, path(1)).Code)
	require.Equal(t, remote.Served{Artifacts: 3, Bytes: 3 * 38, Refused: 2}, h.Served())
}

// broken is a client that went away.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, net.ErrClosed }

func TestHandlerFailures(t *testing.T) {
	t.Parallel()
	h := newHandler(t, sourceFunc(func(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
		return nil, errors.New("the disk at /secret/path is broken")
	}))
	w := ask(t, h, http.MethodGet, path(1))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
	require.Equal(t, remote.Served{Failed: 1}, h.Served())

	h = newHandler(t, sourceFunc(func(context.Context, pipelinecache.Fingerprint) ([]byte, error) { return frame(t, nil), nil }))
	h.ServeHTTP(broken{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path(1), nil))
	require.Equal(t, remote.Served{Failed: 1}, h.Served())
}

// TestManyClients: 50 clients over 5 artifacts that a writer keeps replacing.
func TestManyClients(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writer, err := disk.Open(root, disk.Options{})
	require.NoError(t, err)
	for i := range 5 {
		require.NoError(t, writer.Put(t.Context(), key(i), noise(uint64(i), 100_000)))
	}
	s := serve(t, newHandler(t, open(t, root, disk.Options{})))
	c := newClient(t, s.URL, remote.Options{Required: metadata()})
	errs := make([]error, 51)
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := range 5 {
				k := (w + i) % 5
				got, err := c.Get(t.Context(), key(k))
				if err == nil && string(got) != string(noise(uint64(k), 100_000)) {
					err = errors.New("another artifact")
				}
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			errs[50] = errors.Join(errs[50], writer.Put(t.Context(), key(i%5), noise(uint64(i%5), 100_000)))
		}
	})
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, uint64(250), c.Metrics().Hits)
	require.NoError(t, writer.Close())
}
