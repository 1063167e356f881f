package remote_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// FuzzAnswer reads any bytes as what a server sends. What is a hit has the right
// headers and a whole frame.
func FuzzAnswer(f *testing.F) {
	m := metadata()
	head := fmt.Sprintf("%s: %s\r\n%s: %s\r\n%s: %s\r\n", remote.FingerprintHeader, key(1), remote.ProvenanceHeader, m.Provenance, remote.DeviceHeader, m.Device)
	body := frame(f, []byte("artifact"))
	for _, text := range []string{
		fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body), body),
		fmt.Sprintf("HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body),
		fmt.Sprintf("HTTP/1.0 206 Partial\r\n%s\r\n%s", head, body),
		fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: 99999999999999\r\n\r\n%s", head, body),
		fmt.Sprintf("HTTP/1.1 200 OK\r\n%s%s\r\n%s", head, head, body),
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	c, err := remote.NewClient("http://localhost", remote.Options{Required: m})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
		require.NoError(t, err)
		a, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), r)
		if err != nil {
			return
		}
		got, err := c.Read(t.Context(), key(1), a)
		_ = a.Body.Close() // it may miss the rest
		if err != nil {
			require.Nil(t, got)
			return
		}
		again, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), r)
		require.NoError(t, err)
		body, err := io.ReadAll(again.Body)
		require.NoError(t, err)
		require.NoError(t, again.Body.Close())
		require.Equal(t, frame(t, got), body)
		require.Equal(t, key(1).String(), a.Header.Get(remote.FingerprintHeader))
		require.Equal(t, m.Provenance, a.Header.Get(remote.ProvenanceHeader))
		require.Equal(t, m.Device, a.Header.Get(remote.DeviceHeader))
	})
}
