package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events/blockhash"
)

// indexServer is kvferry index serve as a process.
type indexServer struct {
	*testing.T

	cmd     *exec.Cmd
	base    string
	told    string // its first line
	out     bytes.Buffer
	rest    *bufio.Reader // of standard error
	changes *bufio.Reader // GET /v1/watch
	watch   io.Closer
}

// serveIndex starts a server and waits until it listens.
func serveIndex(t *testing.T, args ...string) *indexServer {
	t.Helper()
	s := &indexServer{T: t}
	s.cmd = exec.CommandContext(t.Context(), "kvferry", append([]string{"index", "serve", "--json", "--log-level", "info"}, args...)...) //nolint:gosec // a command of this test
	s.cmd.Stdout = &s.out
	stderr, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // most often it has ended
	s.rest = bufio.NewReader(stderr)
	for !strings.Contains(s.told, "serving index") {
		s.told, err = s.rest.ReadString('\n')
		require.NoError(t, err)
	}
	_, after, ok := strings.Cut(s.told, ") on ")
	require.True(t, ok, s.told)
	s.base, _, _ = strings.Cut(after, ";")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/v1/watch?after=0", nil)
	require.NoError(t, err)
	w, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	s.changes, s.watch = bufio.NewReader(w.Body), w.Body
	return s
}

// change waits until the index changed once more.
func (s *indexServer) change() {
	s.Helper()
	for {
		line, err := s.changes.ReadString('\n')
		require.NoError(s, err)
		if line != "\n" {
			require.Contains(s, line, `"seq":`)
			return
		}
	}
}

// ask posts a document and reads the answer.
func (s *indexServer) ask(path, doc string, into any) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.base+path, strings.NewReader(doc))
	require.NoError(s, err)
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	require.NoError(s, err)
	text, err := io.ReadAll(w.Body)
	require.NoError(s, err)
	require.NoError(s, w.Body.Close())
	require.Equal(s, http.StatusOK, w.StatusCode, "%s", text)
	require.NoError(s, json.Unmarshal(text, into))
}

// eventually asks how much of the prompt each worker holds, after each change
// again, until the answer is as wanted: lines "worker blocks tiers".
func (s *indexServer) eventually(hash string, want ...string) {
	s.Helper()
	for {
		var got struct {
			Matches []struct {
				Worker string `json:"worker_id"`
				Blocks int
				Tiers  map[string]int
			}
		}
		s.ask("/v1/match", fmt.Sprintf(`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"x"},"token_ids":[%s],"block_size":4,%s}`, promptText(), hash), &got)
		lines := []string{}
		for _, m := range got.Matches {
			lines = append(lines, fmt.Sprintf("%s %d %v", m.Worker, m.Blocks, m.Tiers))
		}
		if fmt.Sprint(lines) == fmt.Sprint(want) {
			return
		}
		s.Log("have", lines, "want", want)
		s.change()
	}
}

// prompt is what all engines are asked to go on from: four blocks of four tokens.
var prompt = []uint32{1, 2, 3, 4, 5, 6, 7, 8, 300, 70000, 11, 12, 13, 14, 15, 16}

func promptText() string {
	var out []string
	for _, n := range prompt {
		out = append(out, strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(out, ",")
}

// hashesOf returns the prompt's hashes as an engine publishes them.
func hashesOf(t *testing.T, a blockhash.Algorithm, value func(h *[32]byte) any) (out []any) {
	t.Helper()
	seed := blockhash.DefaultSeed
	if a == blockhash.SGLang {
		seed = ""
	}
	h, err := blockhash.New(a, 4, seed)
	require.NoError(t, err)
	for _, sum := range h.Hashes(prompt) {
		out = append(out, value(&sum))
	}
	return out
}

func tokensOf(from, to int) (out []any) {
	for _, n := range prompt[from*4 : to*4] {
		out = append(out, int(n))
	}
	return out
}

const (
	asVLLM   = `"algorithm":"sha256"`
	asBytes  = `"algorithm":"sha256","hash_form":"bytes"`
	asSGLang = `"algorithm":"sglang"`
)

// TestIndexServeIsFedByEveryEngine lets an engine of each format publish to a
// server, in a process of its own, and asks it like a router while they store,
// evict, offload, restart and clear.
func TestIndexServeIsFedByEveryEngine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	low := func(h *[32]byte) any { return bigEndian(h[24:]) }
	high := func(h *[32]byte) any { return int64(bigEndian(h[:8])) }
	vllm, vllmBytes, sglang := hashesOf(t, blockhash.SHA256, low), hashesOf(t, blockhash.SHA256, func(h *[32]byte) any { return bytes.Clone(h[:]) }), hashesOf(t, blockhash.SGLang, high)

	maps, positions, signed := publish(t, "127.0.0.1:0"), publish(t, "127.0.0.1:0"), publish(t, "127.0.0.1:0")
	config := filepath.Join(t.TempDir(), "engines.yaml")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf("engines:\n  - {id: sglang-c, kind: sglang, endpoint: 'tcp://%s', model_id: M, tokenizer_id: T, tenant_id: x}\n  - {id: http-d, model_id: M, tokenizer_id: T, tenant_id: x}\n", signed.l.Addr())), 0o600))
	of := func(id string, p *publisher) string {
		return fmt.Sprintf("id=%s,endpoint=tcp://%s,model=M,tokenizer=T,tenant=x,bytes=1MiB", id, p.l.Addr())
	}
	s := serveIndex(t, "--index", "art:"+dir, "--config", config, "--engine", of("vllm-a", maps), "--engine", of("vllm-b", positions))
	require.Contains(t, s.told, "art:"+dir+" (art, persistent)")
	require.Contains(t, s.told, "4 engines: sglang-c (sglang, tcp://")
	for _, p := range []*publisher{maps, positions, signed} {
		<-p.arrived
	}

	// vLLM since June 2026: events as maps, hashes as numbers.
	mapStored := func(hashes []any, parent any, from, to int, medium string) []member {
		return []member{{"type", "BlockStored"}, {"block_hashes", hashes}, {"parent_block_hash", parent}, {"token_ids", tokensOf(from, to)},
			{"block_size", 4}, {"lora_id", nil}, {"medium", medium}, {"lora_name", nil}, {"of_a_later_version", "ignored"}}
	}
	maps.send(1.5, []any{mapStored(vllm[:3], nil, 0, 3, "GPU")}, 0)
	s.eventually(asVLLM, "vllm-a 3 map[hbm:3]")
	maps.send(1.6, []any{mapStored(vllm[3:], vllm[2], 3, 4, "GPU"), mapStored(vllm[:2], nil, 0, 2, "CPU")}, 0)
	s.eventually(asVLLM, "vllm-a 4 map[cpu_dram:2 hbm:4]")

	// vLLM before: events as arrays with the tag first, here with hashes as bytes.
	positionsStored := []any{"BlockStored", vllmBytes, nil, tokensOf(0, 4), 4, nil, "GPU"}
	positions.send(2.5, []any{positionsStored})
	s.eventually(asBytes, "vllm-b 4 map[hbm:4]")
	s.eventually(asVLLM, "vllm-a 4 map[cpu_dram:2 hbm:4]")

	// SGLang: arrays, signed numbers.
	signed.send(3.5, []any{[]any{"BlockStored", sglang[:2], nil, tokensOf(0, 2), 4, nil, "GPU"}, []any{"BlockStored", sglang, nil, tokensOf(0, 4), 4, nil, "DISK"}}, nil)
	s.eventually(asSGLang, "sglang-c 4 map[hbm:2 local_ssd:4]")

	// An engine that is bridged over HTTP.
	text := make([]string, len(vllm))
	for i, h := range vllm {
		text[i] = strconv.Quote(fmt.Sprint(h))
	}
	var sum map[string]any
	s.ask("/v1/kv-events", `{"engine_id":"http-d","ts_ms":4,"events":[{"type":"block_stored","block_hashes":[`+strings.Join(text[:1], ",")+`],"block_size":4,"medium":"gpu"}]}`, &sum)
	require.EqualValues(t, 1, sum["stored_blocks"])
	s.eventually(asVLLM, "vllm-a 4 map[cpu_dram:2 hbm:4]", "http-d 1 map[hbm:1]")

	// Evictions: of one medium only.
	maps.send(1.7, []any{[]member{{"type", "BlockRemoved"}, {"block_hashes", []any{vllm[1]}}, {"medium", "GPU"}}}, 0)
	s.eventually(asVLLM, "vllm-a 4 map[cpu_dram:2 hbm:1]", "http-d 1 map[hbm:1]")
	// A worker goes and comes back as another process: what it had is gone.
	address := positions.l.Addr().String()
	positions.stop()
	positions = publish(t, address)
	<-positions.arrived
	positions.send(5.5, []any{[]any{"BlockStored", vllmBytes[:1], nil, tokensOf(0, 1), 4, nil, "GPU"}})
	s.eventually(asBytes, "vllm-b 1 map[hbm:1]")
	// And one clears its cache.
	maps.send(1.8, []any{[]member{{"type", "AllBlocksCleared"}}}, 0)
	s.eventually(asVLLM, "http-d 1 map[hbm:1]")
	maps.send(1.9, []any{mapStored(vllm[:1], nil, 0, 1, "GPU")}, 0)
	s.eventually(asVLLM, "http-d 1 map[hbm:1]", "vllm-a 1 map[hbm:1]")

	s.clients("art:" + dir)
	s.metrics()

	// The end: everything is durable, what is volatile is stale.
	require.NoError(t, s.watch.Close())
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	_, err := io.Copy(io.Discard, s.rest)
	require.NoError(t, err)
	require.NoError(t, s.cmd.Wait())
	var done indexServed
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &done), s.out.String())
	require.Equal(t, s.base, done.Address)
	require.EqualValues(t, 8, done.Batches)
	require.Zero(t, done.Undecoded)
	out, err := process(t.Context(), "index stats --json --index art:%s", dir)
	require.NoError(t, err)
	var st indexStats
	require.NoError(t, json.Unmarshal(out, &st))
	require.EqualValues(t, 4, st.Metrics.ResidentBlocks, "what sglang-c has on its disk")
	require.EqualValues(t, 5, st.Metrics.StaleBlocks)
}

func bigEndian(b []byte) (n uint64) {
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

// clients asks the server by the commands that read.
func (s *indexServer) clients(dir string) {
	s.Helper()
	for line, want := range map[string]string{
		"stats --json": `"backend":"art","persistent":true`,
		"export":       `"worker_id":"sglang-c","tier":"LocalSsd"`,
		"scan --model M --tokenizer T --tenant x --json":                                                           `"worker_id":"vllm-b"`,
		"match --model M --tokenizer T --tenant x --block-size 4 --hash sglang --json --token-ids " + promptText(): `{"worker_id":"sglang-c","blocks":4,"tiers":{"hbm":2,"local_ssd":4}}`,
		"watch --after 0 --count 1": `{"seq":1,`,
	} {
		out, err := process(s.Context(), "index %s --index %s", line, s.base)
		require.NoError(s, err)
		require.Contains(s, string(out), want)
	}
	_, err := process(s.Context(), "index put h --model M --tokenizer T --tenant x --worker w --index %s", s.base)
	require.ErrorContains(s, err, "exit status 1")
	// What it has open nobody else opens.
	_, err = process(s.Context(), "index stats --index %s", dir)
	require.ErrorContains(s, err, "exit status 1")
}

// metrics looks at what Prometheus would.
func (s *indexServer) metrics() {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.base+"/metrics", nil)
	require.NoError(s, err)
	w, err := http.DefaultClient.Do(r)
	require.NoError(s, err)
	text, err := io.ReadAll(w.Body)
	require.NoError(s, err)
	require.NoError(s, w.Body.Close())
	for _, line := range []string{
		`kvferry_events_batches_total{engine="vllm-a"} 5`, `kvferry_events_batches_total{engine="http"} 1`,
		`kvferry_events_clears_total{engine="vllm-a"} 1`, `kvferry_events_resets_total{engine="vllm-b"} 1`,
		`kvferry_index_info{backend="art"`, `kvferry_events_decode_errors_total{engine="sglang-c"} 0`,
	} {
		require.Contains(s, string(text), line)
	}
}

// TestIndexServeWaitsForEngines serves in this process: engines connect to it, a
// token is needed, and a batch that cannot be read clears its worker.
func TestIndexServeWaitsForEngines(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env := func(name string) string {
		return map[string]string{"KVFERRY_INDEX_TOKEN": "s3cret", "KVFERRY_INDEX": "memory:"}[name]
	}
	told, tell := io.Pipe()
	var out strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"index", "serve", "--json", "--log-level", "info", "--engine", "id=e,endpoint=tcp://127.0.0.1:0,bind=true,model=M,tokenizer=T,tenant=x", "--expire-after", "8760h", "--away", "1h"},
			console{out: &out, err: tell, getenv: env})
		_ = tell.Close() // it never fails
	}()
	lines := bufio.NewScanner(told)
	var base, address string
	for base == "" && lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), " address="); ok {
			address = after
		}
		if _, after, ok := strings.Cut(lines.Text(), ") on "); ok {
			base, _, _ = strings.Cut(after, ";")
		}
	}
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		_, _ = io.Copy(io.Discard, told)
	}()
	client := func(token string, args ...string) result {
		var out, err bytes.Buffer
		code := run(t.Context(), append(args, "--index", base), console{in: strings.NewReader("a\nb\n"), out: &out, err: &err, getenv: func(string) string { return token }})
		return result{code, out.String(), err.String()}
	}
	got := client("wrong", "index", "stats", "--json")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "unauthorized")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/watch", nil) // from here on changes are kept
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer s3cret")
	w, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.StatusCode)
	changes := bufio.NewScanner(w.Body)
	seen := func(text string) {
		for changes.Scan() {
			if strings.Contains(changes.Text(), text) {
				return
			}
		}
		t.Errorf("no %s: %v", text, changes.Err())
	}

	p := connect(t, address)
	<-p.arrived
	p.send(1.5, []any{[]any{"BlockStored", []any{1, 2}, nil, tokensOf(0, 2), 4, nil, "GPU"}})
	seen(`"block_hash":"2"`)
	p.send("no batch", "at all")
	seen(`"kind":"clear_worker","worker_id":"e"`)
	p.send(1.6, []any{[]any{"BlockStored", []any{3}, nil, tokensOf(0, 1), 4, nil, "GPU"}})
	seen(`"block_hash":"3"`)
	require.NoError(t, w.Body.Close())
	followed := client("s3cret", "index", "watch", "--after", "0", "--count", "2")
	require.Zero(t, followed.code, followed.err)
	require.Equal(t, 2, strings.Count(followed.out, "\n"))
	require.Contains(t, followed.out, `{"seq":1,`)
	got = client("s3cret", "index", "scan", "--model", "M", "--tokenizer", "T", "--tenant", "x", "--json")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, `"block_hash":"3"`)
	require.NotContains(t, got.out, `"block_hash":"1"`)

	cancel()
	require.Equal(t, exitDone, <-code)
	<-rest
	var done indexServed
	require.NoError(t, json.Unmarshal([]byte(out.String()), &done))
	require.EqualValues(t, 1, done.Undecoded)
	require.Equal(t, "memory:", done.Index)
}
