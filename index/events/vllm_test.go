package events_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// TestRealVLLM lets a real engine generate, evict and reset, and compares the
// index with the engine's own prefix cache behind each phase. `make check-vllm`
// installs the engine and names it; without it there is nothing to run.
func TestRealVLLM(t *testing.T) {
	python, script := os.Getenv("KVFERRY_VLLM_PYTHON"), os.Getenv("KVFERRY_VLLM_ENGINE")
	if python == "" || script == "" {
		t.Skip("no vLLM is installed: see make check-vllm")
	}
	x := openMemory(t)
	s, err := events.Subscribe(x, events.Options{Sources: []events.Source{{
		Engine:   events.Engine{Name: "vllm", Model: "tiny", Tokenizer: "tiny", Tenant: "check"},
		Endpoint: "tcp://127.0.0.1:0", Bind: true, Topic: "kv",
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, port, err := net.SplitHostPort(s.Addr(0).String())
	require.NoError(t, err)

	cmd := exec.CommandContext(t.Context(), python, script, "tcp://127.0.0.1:"+port, t.TempDir())
	cmd.Stderr = os.Stderr
	answer, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	sizes := map[string]int{}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "KVFERRY ")
		if !ok {
			t.Log(lines.Text()) // the engine's own log
			continue
		}
		var told struct {
			Phase        string   `json:"phase"`
			Blocks       []string `json:"blocks"`
			CachedTokens int      `json:"cached_tokens"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &told))
		slices.Sort(told.Blocks)
		sameBlocks(t, x, told.Phase, told.Blocks)
		sizes[told.Phase] = len(told.Blocks)
		t.Logf("%s: %d blocks, the index has the same; %+v", told.Phase, len(told.Blocks), s.Stats())
		_, err := answer.Write([]byte("\n"))
		require.NoError(t, err)
	}
	require.NoError(t, lines.Err())
	require.NoError(t, cmd.Wait())

	require.Equal(t, 0, sizes["start"])
	require.Equal(t, 9, sizes["generated"]) // 304 tokens in blocks of 32
	require.Greater(t, sizes["shared"], sizes["generated"])
	require.Positive(t, sizes["evicted"])
	require.Equal(t, 0, sizes["reset"])
	require.Equal(t, 9, sizes["again"])
	stats := s.Stats()
	require.Positive(t, stats.RemovedBlocks)
	require.Positive(t, stats.Clears)
	require.Zero(t, stats.Gaps+stats.DecodeErrors+stats.UnknownEvents+stats.UnknownMediums+stats.IndexErrors)
}

// sameBlocks waits until the index has the blocks that the engine has: events
// come a moment after.
func sameBlocks(t *testing.T, x index.Index, phase string, want []string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got := []string{}
		_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
			got = append(got, r.Hash)
			return nil
		})
		require.NoError(c, err)
		slices.Sort(got)
		require.Equal(c, want, got, phase)
	}, time.Minute, 20*time.Millisecond)
}
