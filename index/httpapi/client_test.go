package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/indextest"
)

func client(t *testing.T, s *server, token string) *httpapi.Client {
	t.Helper()
	c, err := httpapi.NewClient(t.Context(), s.base, httpapi.ClientOptions{Token: token})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// snapshot returns all records of an index.
func snapshot(t *testing.T, x index.Reader) (rs []index.Record, seq uint64) {
	t.Helper()
	seq, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		rs = append(rs, *r)
		return nil
	})
	require.NoError(t, err)
	return rs, seq
}

// TestClientSeesTheIndex compares what a client reads with what the index says.
func TestClientSeesTheIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := serve(t, indextest.NewModel(index.Options{Rules: index.AsMemory}), httpapi.Options{Token: "s3cret"})
	c := client(t, s, "s3cret")
	odd := index.Scope{Model: "\x00", Tokenizer: "\xff", Adapter: index.Named(""), Tenant: "ü\u2028\""}
	s.put(scope("a"), "w0", index.HBM, "h0", "h1", "h2")
	s.put(scope("a"), "w1", index.CPUDRAM, "h0", "h1")
	s.put(odd, "w\xfe", index.ObjectStore, "h0", "\xfd")
	require.NoError(t, s.x.Announce(ctx, "w0", 7))

	want, wantSeq := snapshot(t, s.x)
	got, gotSeq := snapshot(t, c)
	require.Equal(t, want, got)
	require.Equal(t, wantSeq, gotSeq)
	for i := range want {
		r := &want[i]
		w, err := s.x.Locate(ctx, &r.Key, nil)
		require.NoError(t, err)
		g, err := c.Locate(ctx, &r.Key, nil)
		require.NoError(t, err)
		require.Equal(t, w, g)
		w, err = s.x.Scan(ctx, &r.Scope, r.Prefix, nil)
		require.NoError(t, err)
		g, err = c.Scan(ctx, &r.Scope, r.Prefix, nil)
		require.NoError(t, err)
		require.Equal(t, w, g)
	}
	for _, q := range []index.Query{
		{Scope: scope("a"), Hashes: []string{"h0", "h1", "h2"}}, {Scope: scope("a"), Hashes: []string{"h0"}, Workers: []string{"w1"}},
		{Scope: scope("a"), Hashes: []string{"h0"}, Workers: []string{}}, {Scope: scope("b"), Hashes: []string{"h0"}},
		{Scope: scope("a")}, {Scope: scope("a"), Hashes: []string{"h0"}, Group: 1},
	} {
		w, err := s.x.Match(ctx, &q, nil)
		require.NoError(t, err)
		g, err := c.Match(ctx, &q, nil)
		require.NoError(t, err)
		require.Equal(t, w, g)
	}
	_, err := c.Match(ctx, &index.Query{Scope: odd, Hashes: []string{"h0"}}, nil)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	w, err := s.x.Workers(ctx)
	require.NoError(t, err)
	g, err := c.Workers(ctx)
	require.NoError(t, err)
	require.Equal(t, w, g)
	wm, err := s.x.Metrics(ctx)
	require.NoError(t, err)
	gm, err := c.Metrics(ctx)
	require.NoError(t, err)
	require.Equal(t, wm, gm)
	require.Equal(t, index.Info{Name: s.x.Info().Name, Persistent: s.x.Info().Persistent, Shared: true, Rules: index.AsMemory}, c.Info())
	require.NoError(t, c.Flush(ctx))
}

// TestClientWatches replays what a client sees of every kind of change.
func TestClientWatches(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	c := client(t, s, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	copied := indextest.NewModel(index.Options{})
	var last uint64
	begun := make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		close(begun)
		for change, err := range c.Watch(ctx, 0) {
			if err != nil {
				followed <- err
				return
			}
			if last++; change.Seq != last {
				t.Errorf("change %d, want %d", change.Seq, last)
			}
			if err := copied.Apply(t.Context(), change); err != nil {
				t.Error(err)
			}
			if change.Kind == index.DidExpire {
				cancel()
			}
		}
	}()
	<-begun
	odd := index.Scope{Model: "\x00", Tokenizer: "\xff", Adapter: index.Named(""), Tenant: "t"}
	s.put(scope("a"), "w0", index.HBM, "h0", "h1")
	s.put(scope("a"), "w1", index.LocalSSD, "h0", "h1")
	s.put(odd, "w\xfe", index.ObjectStore, "h0", "\xfd")
	_, err := s.x.Remove(t.Context(), []index.Removal{{Scope: odd, AnyAdapter: true, Worker: "w\xfe", Hash: "\xfd", Tier: index.ObjectStore, OneGroup: true}})
	require.NoError(t, err)
	require.NoError(t, s.x.Announce(t.Context(), "w0", 7))
	s.put(scope("a"), "w0", index.LocalSSD, "h9")
	_, err = s.x.ClearWorker(t.Context(), "w1")
	require.NoError(t, err)
	s.put(scope("b"), "w2", index.LocalSSD, "h9")
	want, _ := snapshot(t, s.x)
	// What was last used at 0 goes, so it is put anew before.
	for i := range want {
		want[i].LastAccess = 9
	}
	require.NoError(t, s.x.Put(t.Context(), want))
	s.put(scope("b"), "w3", index.LocalSSD, "h9")
	_, err = s.x.Expire(t.Context(), 5)
	require.NoError(t, err)
	require.ErrorIs(t, <-followed, context.Canceled)
	got, _ := snapshot(t, copied)
	require.Equal(t, want, got)
	require.NoError(t, copied.Close())
}

func TestClientFails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, base := range []string{"", "host", "ftp://host", "http://", "http://u:p@host", "http://host?x=y"} {
		_, err := httpapi.NewClient(ctx, base, httpapi.ClientOptions{})
		require.ErrorIs(t, err, kvferry.ErrInvalid, base)
	}
	s := serve(t, nil, httpapi.Options{Token: "s3cret"})
	c := client(t, s, "wrong")
	_, err := c.Scan(ctx, &index.Scope{}, "", nil)
	require.ErrorContains(t, err, "unauthorized")
	c = client(t, s, "s3cret")
	require.ErrorIs(t, c.Put(ctx, nil), kvferry.ErrUnsupported)
	_, err = c.ByHash(ctx, "h", nil)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	var watched error
	for _, err := range c.Watch(ctx, 1) {
		watched = err
	}
	require.ErrorIs(t, watched, kvferry.ErrExpired)
	require.NoError(t, s.x.Close())
	_, err = c.Scan(ctx, &index.Scope{}, "", nil)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.NoError(t, c.Close())
	_, err = c.Metrics(ctx)
	require.ErrorIs(t, err, kvferry.ErrClosed)

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			_, _ = w.Write([]byte("{}"))
			return
		}
		_, _ = w.Write([]byte(r.Header.Get("X-Answer")))
	}))
	defer other.Close()
	for _, text := range []string{"", "[]", `{"residency":{}}`, `{"residency":[{}]}`, `{"index":[]}`, `{"seq":1`, `{"records":[{}],"residency":0}`} {
		c, err := httpapi.NewClient(ctx, other.URL, httpapi.ClientOptions{HTTP: &http.Client{Transport: saying(text)}})
		require.NoError(t, err)
		_, err = c.Snapshot(ctx, func(*index.Record) error { return nil })
		require.Error(t, err, text)
		yields := 0
		for change, err := range c.Watch(ctx, 0) {
			require.Error(t, err, text)
			require.Nil(t, change)
			yields++
		}
		require.Equal(t, 1, yields, text)
		require.NoError(t, c.Close())
	}
}

// saying is a transport that asks for a certain answer.
type saying string

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Answer", string(s))
	return http.DefaultTransport.RoundTrip(r)
}
