package events_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// The socket that a killed process left behind is in nobody's way, but one that
// somebody listens at, or a file, stays.
func TestSubscribeWhereAKilledOneWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	sources := []events.Source{{Engine: engineA, Endpoint: "ipc://" + path, Bind: true}}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	x := model(t)
	_, err = events.Subscribe(x, events.Options{Sources: sources})
	require.Error(t, err)
	require.FileExists(t, path)
	require.NoError(t, l.Close())
	require.FileExists(t, path)
	s := subscribe(t, x, events.Options{Sources: sources})
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	_, err = events.Subscribe(x, events.Options{Sources: sources})
	require.Error(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))
}
