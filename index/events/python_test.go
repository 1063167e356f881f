package events_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// Publishers of the engines' own kind: libzmq and their msgspec classes.
func TestPythonPublishers(t *testing.T) {
	t.Parallel()
	python := os.Getenv("KVFERRY_EVENTS_PYTHON")
	if python == "" {
		t.Skip("KVFERRY_EVENTS_PYTHON names no Python with pyzmq and msgspec; make check-events does")
	}
	for _, form := range []string{"vllm026", "vllm033", "sglang"} {
		for _, how := range []string{"bind", "connect"} {
			t.Run(form+"/"+how, func(t *testing.T) {
				t.Parallel()
				testPython(t, python, form, how)
			})
		}
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	p := newPublisher(t)
	endpoint := p.endpoint()
	p.stop()
	return endpoint
}

func testPython(t *testing.T, python, form, how string) {
	endpoint := "tcp://127.0.0.1:0"
	if how == "connect" {
		endpoint = freePort(t)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/publish.py", form, how, endpoint, "7", "700")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	says := bufio.NewScanner(out)
	says.Buffer(nil, 1<<24)
	var ports struct{ Port, Replay int }
	require.True(t, says.Scan())
	require.NoError(t, json.Unmarshal(says.Bytes(), &ports))
	src := events.Source{Engine: engineA, Endpoint: endpoint, Bind: how == "connect", Replay: fmt.Sprintf("tcp://127.0.0.1:%d", ports.Replay)}
	if how == "bind" {
		src.Endpoint = fmt.Sprintf("tcp://127.0.0.1:%d", ports.Port)
	}
	x := openMemory(t)
	s := subscribe(t, x, events.Options{Sources: []events.Source{src}})
	until(t, func() bool { return s.Stats().Connects == 1 })
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	require.True(t, says.Scan(), "the publisher said nothing")
	var want [][3]string
	require.NoError(t, json.Unmarshal(says.Bytes(), &want))
	require.NotEmpty(t, want)
	// 700 batches, counted once each: what came twice or was replayed is not.
	until(t, func() bool { st := s.Stats(); return st.Batches >= 700 })
	var got [][3]string
	until(t, func() bool {
		got = resident(t, x)
		return len(got) == len(want)
	})
	require.Equal(t, tiersOf(want), got)
	st := s.Stats()
	t.Logf("%+v", st)
	require.Equal(t, uint64(700), st.Batches)
	require.NotZero(t, st.Gaps)
	require.Zero(t, st.ReplayErrors+st.Resets+st.DecodeErrors+st.WorkersCleared+st.UnknownMediums+st.UnknownEvents)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// resident lists hash, parent and tier of all records.
func resident(t *testing.T, x index.Index) [][3]string {
	var out [][3]string
	for _, r := range records(t, x) {
		out = append(out, [3]string{r.Hash, r.Prefix, r.Tier.String()})
	}
	slices.SortFunc(out, compare3)
	return out
}

func tiersOf(want [][3]string) [][3]string {
	tiers := map[string]string{"GPU": "hbm", "CPU": "cpu_dram", "CPU_PINNED": "cpu_dram", "STORAGE": "local_ssd", "DISK": "local_ssd", "EXTERNAL": "object_store"}
	for i := range want {
		want[i][2] = tiers[want[i][2]]
	}
	slices.SortFunc(want, compare3)
	return want
}

func compare3(a, b [3]string) int {
	return strings.Compare(strings.Join(a[:], " "), strings.Join(b[:], " "))
}
