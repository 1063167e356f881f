package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/blockhash"
	"github.com/kvferry/kvferry/index/redis"
)

// matches are the answers for the prompt: "worker blocks tiers".
func (s *indexServer) matches() (out []string) {
	var got struct {
		Matches []struct {
			Worker string `json:"worker_id"`
			Blocks int
			Tiers  map[string]int
		}
	}
	s.ask("/v1/match", fmt.Sprintf(`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"x"},"token_ids":[%s],"block_size":4,%s}`, promptText(), asVLLM), &got)
	for _, m := range got.Matches {
		out = append(out, fmt.Sprintf("%s %d %v", m.Worker, m.Blocks, m.Tiers))
	}
	return out
}

func (s *indexServer) holds(want ...string) {
	s.Helper()
	var got []string
	defer func() {
		if s.Failed() {
			s.Log("have", got, "want", want)
		}
	}()
	require.Eventually(s, func() bool {
		got = s.matches()
		return fmt.Sprint(got) == fmt.Sprint(want)
	}, time.Minute, 5*time.Millisecond)
}

func (s *indexServer) end() {
	s.Helper()
	require.NoError(s, s.watch.Close())
	require.NoError(s, s.cmd.Process.Signal(syscall.SIGTERM))
	_, err := io.Copy(io.Discard, s.rest)
	require.NoError(s, err)
	require.NoError(s, s.cmd.Wait())
}

// TestTwoServersFollowOneEngine on one Redis: neither takes away what the other has
// put, what the engine holds stays when one ends, and goes when the engine dies.
func TestTwoServersFollowOneEngine(t *testing.T) {
	t.Parallel()
	needRedis(t)
	address := startRedis(t)
	url := "redis://:s3cret@" + address
	hashes := hashesOf(t, blockhash.SHA256, func(h *[32]byte) any { return bigEndian(h[24:]) })
	p := publish(t, "127.0.0.1:0")
	args := []string{
		"--index", url, "--lease", "500ms", "--away", "50ms", "--engine", fmt.Sprintf("id=e,endpoint=tcp://%s,model=M,tokenizer=T,tenant=x", p.l.Addr()),
		"--engine", "id=bridged,model=M,tokenizer=T,tenant=x",
	}
	stored := func(parent any, from, to int) []any {
		return []any{[]any{"BlockStored", hashes[from:to], parent, tokensOf(from, to), 4, nil, "GPU"}}
	}
	a := serveIndex(t, args...)
	<-p.arrived
	p.send(1.5, stored(nil, 0, 2))
	a.holds("e 2 map[hbm:2]")
	b := serveIndex(t, args...)
	<-p.arrived
	p.send(1.6, stored(hashes[1], 2, 3))
	b.holds("e 3 map[hbm:3]")
	p.send(1.7, stored(hashes[2], 3, 4))
	a.holds("e 4 map[hbm:4]")
	var sum map[string]any
	a.ask("/v1/kv-events", fmt.Sprintf(`{"engine_id":"bridged","events":[{"type":"block_stored","block_hashes":["%d"],"block_size":4}]}`, hashes[0]), &sum)
	b.holds("e 4 map[hbm:4]", "bridged 1 map[hbm:1]")

	// What is told to one server alone ends with its leases, the rest lives on.
	a.end()
	b.holds("e 4 map[hbm:4]")
	x, err := redis.Open(t.Context(), redis.Options{Addresses: []string{address}, Password: "s3cret", Lease: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	require.NoError(t, x.Announce(t.Context(), "clock", 1))
	lives := func(worker string) bool {
		ws, err := x.Workers(t.Context())
		require.NoError(t, err)
		for _, w := range ws {
			if w.Name == worker {
				return true
			}
		}
		return false
	}
	require.Eventually(t, func() bool { return !lives("clock") }, time.Minute, 5*time.Millisecond)
	require.True(t, lives("e"))
	require.Equal(t, []string{"e 4 map[hbm:4]"}, b.matches())

	p.stop()
	b.holds()
	require.Eventually(t, func() bool { return !lives("e") }, time.Minute, 5*time.Millisecond)
	b.end()
}

// failing is an index whose disk fails.
type failing struct{ index.Index }

func (failing) Put(context.Context, []index.Record) error {
	return fmt.Errorf("put: %w", kvferry.ErrPoisoned)
}

// told is what a server says on standard error.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
	said chan struct{}
}

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(p), "serving index") {
		close(w.said)
	}
	return w.text.Write(p)
}

// TestPoisonIsNoticed without a flush: by whoever writes.
func TestPoisonIsNoticed(t *testing.T) {
	t.Parallel()
	i, u, err := (&indexing{url: "memory:", rules: "recommended"}).openIndex(t.Context(), true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	w := &told{said: make(chan struct{})}
	a := &app{log: slog.New(slog.DiscardHandler), console: console{err: w, getenv: func(string) string { return "" }}}
	x := &indexing{app: a}
	ended := make(chan error, 1)
	go func() {
		_, err := x.serve(t.Context(), failing{i}, u, &indexServing{listening: listening{address: "127.0.0.1:0"}}, []engineConfig{{ID: "e"}})
		ended <- err
	}()
	<-w.said
	w.mu.Lock()
	_, after, _ := strings.Cut(w.text.String(), ") on ")
	w.mu.Unlock()
	base, _, _ := strings.Cut(after, ";")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/kv-events", strings.NewReader(`{"engine_id":"e","events":[{"type":"block_stored","block_hashes":["1"],"block_size":4}]}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	var doc struct{ Error struct{ Type string } }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&doc))
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "poisoned", doc.Error.Type)
	require.ErrorIs(t, <-ended, kvferry.ErrPoisoned)
}
