package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/memory"
	"github.com/kvferry/kvferry/index/redis"
)

// TestIndexWithALogOfRedis: Redis's own default for its log is one that nobody
// waits for. Commands say so, once, and do what they were asked for.
func TestIndexWithALogOfRedis(t *testing.T) {
	t.Parallel()
	needRedis(t)
	url := "redis://:s3cret@" + startRedis(t, "--appendonly", "yes", "--appendfsync", "everysec")
	scope := []string{"--model", "M", "--tokenizer", "T", "--tenant", "x"}
	got := command(t.Context(), append([]string{"index", "put", "h0", "--worker", "w", "--incarnation", "7", "--index", url}, scope...)...)
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "1 record put")
	require.Equal(t, 1, strings.Count(got.err, "for the server to say"), got.err)
	got = command(t.Context(), "index", "export", "--index", url)
	require.Zero(t, got.code, got.err)
	file := filepath.Join(t.TempDir(), "records")
	require.NoError(t, os.WriteFile(file, []byte(got.out), 0o600))
	got = command(t.Context(), "index", "import", file, "--index", url)
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "1 record imported")

	ctx, cancel := context.WithCancel(t.Context())
	told := &until{text: "for the server to say", cancel: cancel}
	var out bytes.Buffer
	code := run(ctx, []string{"index", "serve", "--flush-every", "10ms", "--expire-after", "8760h", "--index", url},
		console{in: strings.NewReader(""), out: &out, err: told, getenv: func(string) string { return "" }})
	require.Zero(t, code, told.String())
	require.Contains(t, out.String(), "1 block")
}

// until cancels a context when a text is written to it.
type until struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (u *until) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(u.text)) {
		u.cancel()
	}
	return u.Buffer.Write(p)
}

func TestRedisOptions(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][]string{
		"rediss://[::1]:6379":                       {"[::1]:6379"},
		"rediss://a.example:6379,b.example:6380":    {"a.example:6379", "b.example:6380"},
		"rediss://me:s3cret@a.example:6379,b.ex:80": {"a.example:6379", "b.ex:80"},
	} {
		u, err := parseIndexURL(url)
		require.NoError(t, err)
		o := redisOptions(u, index.Options{}, true)
		require.Equal(t, want, o.Addresses)
		require.Equal(t, &tls.Config{MinVersion: tls.VersionTLS12}, o.TLS, "each server is verified by its own name")
		require.True(t, o.Renew)
		require.Zero(t, o.Lease)
		require.Equal(t, redis.NoLease, redisOptions(u, index.Options{}, false).Lease, "nobody renews it")
	}
}

// poisoned is an index that failed to write.
type poisoned struct{ *memory.Index }

func (poisoned) Flush(context.Context) error { return fmt.Errorf("flush: %w", kvferry.ErrPoisoned) }

// TestPoisonedIndexIsNotServed, whatever else there is to do for it.
func TestPoisonedIndexIsNotServed(t *testing.T) {
	t.Parallel()
	x := &indexing{app: &app{log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	i, err := memory.New(memory.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	for _, expire := range []time.Duration{0, time.Hour} {
		err := x.keep(t.Context(), poisoned{i}, &indexServing{flushEvery: time.Millisecond, expireAfter: expire})
		require.ErrorIs(t, err, kvferry.ErrPoisoned)
	}
}

// TestAwayPublishers: where leases are renewed, a publisher that is away is let go.
func TestAwayPublishers(t *testing.T) {
	t.Parallel()
	shared, own := index.Info{Shared: true}, index.Info{}
	require.Equal(t, time.Minute, (&indexServing{}).awayOn(shared, time.Minute))
	require.Zero(t, (&indexServing{}).awayOn(own, time.Minute))
	require.Zero(t, (&indexServing{awaySet: true}).awayOn(shared, time.Minute), "as it was asked for")
	require.Equal(t, time.Hour, (&indexServing{awaySet: true, away: time.Hour}).awayOn(shared, time.Minute))
}
