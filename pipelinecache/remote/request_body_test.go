package remote_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// TestRequestWithABody announces a body that never comes: such a request is
// refused at once and takes nobody's turn.
func TestRequestWithABody(t *testing.T) {
	t.Parallel()
	s, err := disk.Open(t.TempDir(), disk.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	f := pipelinecache.Fingerprint{1}
	require.NoError(t, s.Put(t.Context(), f, make([]byte, 64<<10)))
	h, err := remote.NewHandler(s, remote.HandlerOptions{Metadata: remote.Metadata{Provenance: "p", Device: "d"}, MaxConcurrent: 1})
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	for _, head := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "GET /%v.bin HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", f, head)
		require.NoError(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode)
		require.True(t, answer.Close)
		require.NoError(t, answer.Body.Close())
		require.NoError(t, c.Close())
	}
	require.EqualValues(t, 2, h.Served().Refused)
}
