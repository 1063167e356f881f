package harness_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

func TestWhyNoPeer(t *testing.T) {
	e := &harness.Env{}
	require.Equal(t, "no peers were asked for", e.WhyNoPeer("zipnn"))
	e.Peers = t.TempDir()
	require.Equal(t, "zipnn is not installed: run make bench-peers", e.WhyNoPeer("zipnn"))
	path := filepath.Join(e.Peers, "zipnn.missing")
	require.NoError(t, os.WriteFile(path, []byte("  \n"), 0o600))
	require.Equal(t, "zipnn is not installed: run make bench-peers", e.WhyNoPeer("zipnn"))
	require.NoError(t, os.WriteFile(path, []byte("install cargo to have this peer\nand more\n"), 0o600))
	require.Equal(t, "install cargo to have this peer", e.WhyNoPeer("zipnn"))
}
