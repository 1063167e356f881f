package remote_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// answer is what a server of these tests sends, whatever it is asked for.
type answer struct {
	status  int
	headers map[string]string // instead of the right ones; "" leaves one out
	body    []byte
}

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := metadata()
	for name, text := range map[string]string{
		remote.FingerprintHeader: strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".bin"),
		remote.ProvenanceHeader:  m.Provenance,
		remote.DeviceHeader:      m.Device,
	} {
		if other, ok := a.headers[name]; ok {
			text = other
		}
		if text != "" {
			w.Header().Set(name, text)
		}
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(a.body) // a client may go away
}

func TestBaseIsKept(t *testing.T) {
	t.Parallel()
	paths := make(chan string, 10)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.RequestURI
		http.NotFound(w, r)
	}))
	for base, prefix := range map[string]string{s.URL: "/", s.URL + "///": "/", s.URL + "/a/b": "/a/b/", s.URL + "/a/b//": "/a/b/"} {
		c := newClient(t, base, remote.Options{})
		require.Equal(t, base, c.Base())
		requireMiss(t, c, key(1), kvferry.ErrNotFound)
		require.Equal(t, prefix+key(1).String()+".bin", <-paths)
	}
	for _, base := range []string{"", "host", "ftp://host", "https://", "https://host?q=1", "https://host#x", "https://user:secret@host", "https://host:port", "/path", "http://a b"} {
		_, err := remote.NewClient(base, remote.Options{})
		require.ErrorIs(t, err, kvferry.ErrInvalid, base)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []remote.Options{
		{DialTimeout: -1}, {HeaderTimeout: -1}, {Timeout: -1}, {MaxConnections: -1},
		{Required: remote.Metadata{Provenance: "a\nb"}}, {Required: remote.Metadata{Device: " padded"}},
		{Required: remote.Metadata{Device: strings.Repeat("x", 1001)}},
	} {
		_, err := remote.NewClient("http://localhost", o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestHeaders accepts what matches and refuses each header that is wrong,
// missing or empty.
func TestHeaders(t *testing.T) {
	t.Parallel()
	upper := strings.ToUpper(key(1).String())
	for name, c := range map[string]struct {
		headers  map[string]string
		required remote.Metadata
		want     error // nil is a hit
	}{
		"matching":              {nil, metadata(), nil},
		"nothing required":      {nil, remote.Metadata{}, nil},
		"other, not required":   {map[string]string{remote.ProvenanceHeader: "x", remote.DeviceHeader: "y"}, remote.Metadata{}, nil},
		"wrong fingerprint":     {map[string]string{remote.FingerprintHeader: key(2).String()}, metadata(), kvferry.ErrCorrupt},
		"upper case":            {map[string]string{remote.FingerprintHeader: upper}, metadata(), kvferry.ErrCorrupt},
		"missing fingerprint":   {map[string]string{remote.FingerprintHeader: ""}, metadata(), kvferry.ErrCorrupt},
		"wrong source":          {map[string]string{remote.ProvenanceHeader: "git:other"}, metadata(), kvferry.ErrUnsupported},
		"missing source":        {map[string]string{remote.ProvenanceHeader: ""}, metadata(), kvferry.ErrCorrupt},
		"missing, not required": {map[string]string{remote.ProvenanceHeader: ""}, remote.Metadata{}, kvferry.ErrCorrupt},
		"empty source":          {map[string]string{remote.ProvenanceHeader: " "}, remote.Metadata{}, kvferry.ErrCorrupt},
		"wrong device":          {map[string]string{remote.DeviceHeader: "cuda-sm80"}, metadata(), kvferry.ErrUnsupported},
		"missing device":        {map[string]string{remote.DeviceHeader: ""}, remote.Metadata{}, kvferry.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answer{headers: c.headers, body: frame(t, []byte("artifact"))})
			client := newClient(t, s.URL, remote.Options{Required: c.required})
			if c.want == nil {
				requireHas(t, client, key(1), []byte("artifact"))
				require.Zero(t, client.Failures())
				return
			}
			_, err := client.Get(t.Context(), key(1))
			require.ErrorIs(t, err, c.want)
			var wrong *remote.HeaderError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, remote.Failures{Headers: 1}, client.Failures())
			require.Equal(t, pipelinecache.Metrics{Lookups: 1, Misses: 1}, client.Metrics())
		})
	}
}

// TestHeaderTwice: of two texts nobody knows which one counts.
func TestHeaderTwice(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add(remote.DeviceHeader, "cuda-sm80")
		w.Header()["x-vyre-cache-device-compatibility"] = []string{"cuda-sm90"}
		delete(w.Header(), "Date")
		answer{headers: map[string]string{remote.DeviceHeader: ""}, body: frame(t, nil)}.ServeHTTP(w, r)
	}))
	requireMiss(t, newClient(t, s.URL, remote.Options{}), key(1), kvferry.ErrCorrupt)
}

// TestStatuses: any success is used, 404 is a miss, the rest are failures.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for code := range map[int]bool{200: true, 201: true, 203: true, 206: true, 226: true, 300: true, 302: true, 304: true, 400: true, 403: true, 404: true, 410: true, 429: true, 500: true, 503: true} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			s := serve(t, answer{status: code, body: frame(t, []byte("artifact"))})
			c := newClient(t, s.URL, remote.Options{Required: metadata()})
			_, err := c.Get(t.Context(), key(1))
			var status *remote.StatusError
			switch {
			case code < 300:
				require.NoError(t, err)
			case code == http.StatusNotFound:
				require.ErrorIs(t, err, kvferry.ErrNotFound)
				require.Zero(t, c.Failures())
			default:
				require.ErrorAs(t, err, &status)
				require.Equal(t, code, status.Code)
				require.NotErrorIs(t, err, kvferry.ErrNotFound)
				require.Equal(t, remote.Failures{Status: 1}, c.Failures())
			}
		})
	}
}

// TestFrames refuses bodies that are no frame, whatever their headers say.
func TestFrames(t *testing.T) {
	t.Parallel()
	sound := frame(t, noise(1, 1000))
	flipped := append([]byte(nil), sound...)
	flipped[50] ^= 1
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(sound)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, body := range map[string][]byte{
		"empty": {}, "short": sound[:37], "cut": sound[:900], "flipped": flipped, "extended": append(sound[:len(sound):len(sound)], 0),
		"unversioned": sound[6:], "compressed": packed.Bytes(), "html": []byte("<html>" + strings.Repeat("x", 1000)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "" || name == "compressed" {
					w.Header().Set("Content-Encoding", "gzip")
				}
				answer{body: body}.ServeHTTP(w, r)
			}))
			c := newClient(t, s.URL, remote.Options{})
			requireMiss(t, c, key(1), kvferry.ErrCorrupt)
			require.Equal(t, remote.Failures{Frames: 1}, c.Failures())
		})
	}
}

// TestRedirects follows within the server and nowhere else.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		answer{body: frame(t, []byte("theirs"))}.ServeHTTP(w, r)
	}))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):]
		switch {
		case strings.HasPrefix(r.URL.Path, "/here/"):
			http.Redirect(w, r, "/there"+name, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, other.URL+name, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/loop/"):
			http.Redirect(w, r, r.URL.Path, http.StatusMovedPermanently)
		default:
			r.URL.Path = name
			answer{body: frame(t, []byte("ours"))}.ServeHTTP(w, r)
		}
	}))
	requireHas(t, newClient(t, s.URL+"/here", remote.Options{}), key(1), []byte("ours"))
	for path, code := range map[string]int{"/away": http.StatusFound, "/loop": http.StatusMovedPermanently} {
		_, err := newClient(t, s.URL+path, remote.Options{}).Get(t.Context(), key(1))
		var status *remote.StatusError
		require.ErrorAs(t, err, &status)
		require.Equal(t, code, status.Code)
	}
	require.Zero(t, elsewhere.Load())
}

// TestDeadlines asks servers that stop at each point of an answer.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	full := frame(t, noise(1, 1000))
	for name, stall := range map[string]http.HandlerFunc{
		"head": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(full)))
			answer{body: full[:500]}.ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush() // the test ends without it, too
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, stall)
			o := remote.Options{Timeout: 200 * time.Millisecond}
			if name == "head" {
				o = remote.Options{HeaderTimeout: 100 * time.Millisecond}
			}
			c := newClient(t, s.URL, o)
			_, err := c.Get(t.Context(), key(1))
			var failure *remote.TransportError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, remote.Failures{Transport: 1}, c.Failures())
		})
	}
}

// TestMissWithoutBody asks a server that says that it has none, announces a body
// and sends nothing of it: that is a miss, and nobody waits for the body.
func TestMissWithoutBody(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusNotFound)
		_ = http.NewResponseController(w).Flush() // the test ends without it, too
		<-r.Context().Done()
	}))
	c := newClient(t, s.URL, remote.Options{Timeout: time.Hour})
	_, err := c.Get(t.Context(), key(1))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestHandshakeDeadline asks a server that accepts and then says nothing.
func TestHandshakeDeadline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	c := newClient(t, "https://"+l.Addr().String(), remote.Options{DialTimeout: 100 * time.Millisecond})
	_, err = c.Get(t.Context(), key(1))
	var failure *remote.TransportError
	require.ErrorAs(t, err, &failure)
	require.ErrorContains(t, err, "timeout")
}

// TestDeadServer: nobody listens.
func TestDeadServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	require.NoError(t, err)
	require.NoError(t, l.Close())
	c := newClient(t, "http://"+l.Addr().String(), remote.Options{})
	_, err = c.Get(t.Context(), key(1))
	var failure *remote.TransportError
	require.ErrorAs(t, err, &failure)
	require.NotErrorIs(t, err, kvferry.ErrNotFound)
	require.Equal(t, pipelinecache.Metrics{Lookups: 1, Misses: 1}, c.Metrics())
}

// TestBrokenOff: an answer that ends before its announced length is none.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		answer{body: frame(t, nil)}.ServeHTTP(w, r)
	}))
	c := newClient(t, s.URL, remote.Options{})
	requireMiss(t, c, key(1), io.ErrUnexpectedEOF)
	require.Equal(t, remote.Failures{Transport: 1}, c.Failures())
}

// TestCancelled: who stops waiting learns that, and it is no failure.
func TestCancelled(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	c := newClient(t, s.URL, remote.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := c.Get(ctx, key(1))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, c.Failures())
	require.Equal(t, pipelinecache.Metrics{Lookups: 1, Misses: 1}, c.Metrics())
}

// TestConnectionsAreUsedAgain, after misses and refused answers, too.
func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var connections, asked atomic.Int64
	body := frame(t, noise(1, 40_000))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) % 4 {
		case 0:
			http.NotFound(w, r)
		case 1:
			answer{status: http.StatusInternalServerError, body: body}.ServeHTTP(w, r)
		case 2:
			answer{headers: map[string]string{remote.DeviceHeader: ""}, body: body}.ServeHTTP(w, r)
		default:
			answer{body: body}.ServeHTTP(w, r)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := newClient(t, s.URL, remote.Options{})
	for range 40 {
		_, _ = c.Get(t.Context(), key(1))
	}
	require.Equal(t, uint64(10), c.Metrics().Hits)
	require.Equal(t, remote.Failures{Status: 10, Headers: 10}, c.Failures())
	require.Equal(t, int64(1), connections.Load())
}

func TestClosed(t *testing.T) {
	t.Parallel()
	c, err := remote.NewClient("http://localhost:1", remote.Options{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	requireMiss(t, c, key(1), kvferry.ErrClosed)
	require.ErrorIs(t, c.Close(), kvferry.ErrClosed)
}
