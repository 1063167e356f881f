package redis_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestGarbage: what is no index below our keys is reported, whatever reads it.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := t.Context()
	for i, spoil := range []struct{ kind, what string }{
		{"b", "type"}, {"b", "record"}, {"b", "value"}, {"b", "parent"}, {"b", "garbage"}, {"m", "type"}, {"s", "scope"}, {"s", "type"}, {"n", "count"}, {"n", "type"}, {"l", "type"}, {"q", "count"},
	} {
		o := s.options(index.Options{})
		o.Prefix = fmt.Sprint("garbage", i, ":")
		x, r := s.open(t, o), record(1)
		require.NoError(t, x.Announce(ctx, "w", 1))
		require.NoError(t, x.Put(ctx, []index.Record{r}))
		for _, key := range s.keys() {
			_, name, _ := strings.Cut(key, "}")
			if !strings.HasPrefix(key, o.Prefix) || !strings.HasPrefix(name, spoil.kind) {
				continue
			}
			s.spoil(key, spoil.what)
		}
		var errs []error
		_, err := x.Locate(ctx, &r.Key, nil)
		errs = append(errs, err)
		_, err = x.Scan(ctx, &r.Scope, r.Prefix, nil)
		errs = append(errs, err)
		_, err = x.ByHash(ctx, r.Hash, nil)
		errs = append(errs, err)
		_, err = x.Match(ctx, &index.Query{Scope: r.Scope, Hashes: []string{r.Hash}}, nil)
		errs = append(errs, err)
		_, err = x.Snapshot(ctx, func(*index.Record) error { return nil })
		errs = append(errs, err)
		_, err = x.Metrics(ctx)
		errs = append(errs, err, x.Put(ctx, []index.Record{r, record(2)}))
		_, err = x.ClearWorker(ctx, "w")
		errs = append(errs, err)
		found := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt, "%v", spoil)
				found++
			}
		}
		require.Positive(t, found, "%v: %v", spoil, errs)
	}
}

// TestFailedCallsAreNotSeen: what fails in its midst, because something else uses a
// key, has changed nothing, or what it has changed is counted and numbered.
func TestFailedCallsAreNotSeen(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	ctx := t.Context()
	one, two := record(0), record(1)
	one.Tenant, two.Tenant, two.Worker = "one", "two", "v"
	one.Prefix, two.Prefix = "p", "p"
	rs := []index.Record{one, two}
	require.NoError(t, x.Put(ctx, rs))
	require.NoError(t, x.Clear(ctx))
	for _, kind := range []string{"b", "mv", "w"} {
		require.NoError(t, x.Put(ctx, rs))
		var keys []string
		for _, key := range s.keys() {
			if _, name, _ := strings.Cut(key, "}"); strings.HasPrefix(name, kind) {
				keys = append(keys, key)
			}
		}
		require.NotEmpty(t, keys)
		require.NoError(t, x.Clear(ctx))
		before, err := x.Metrics(ctx)
		require.NoError(t, err)
		for _, key := range keys[:1] {
			s.must("SET", key, "garbage")
			require.ErrorIs(t, x.Put(ctx, rs), kvferry.ErrCorrupt, "%s", key)
			s.must("DEL", key)
		}
		require.Empty(t, consistent(t, x), kind)
		after, err := x.Metrics(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Seq, after.Seq, kind)
	}
	// What leads to a record cannot be removed, but the record is.
	require.NoError(t, x.Put(ctx, rs))
	before, err := x.Metrics(ctx)
	require.NoError(t, err)
	for _, key := range s.keys() {
		if strings.HasSuffix(key, "}mv") {
			s.must("SET", key, "garbage")
		}
	}
	_, err = x.Remove(ctx, []index.Removal{{Scope: two.Scope, Worker: "v", Hash: two.Hash}})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Len(t, consistent(t, x), 1)
	after, err := x.Metrics(ctx)
	require.NoError(t, err)
	require.Equal(t, before.Seq+1, after.Seq)
}

// spoil makes a key's value wrong.
func (s *server) spoil(key, what string) {
	s.t.Helper()
	fields := func() []string {
		m := s.must("HKEYS", key)
		l, err := m.AsStrSlice()
		require.NoError(s.t, err)
		return l
	}
	switch what {
	case "type":
		s.must("DEL", key)
		s.must("SET", key, "garbage")
	case "count":
		if strings.HasSuffix(key, "q") {
			s.must("SET", key, "garbage")
			return
		}
		s.must("HSET", key, "w", "garbage")
	case "record": // without a parent
		s.must("HSET", key, record(1).Hash, "\xffRx\xffVx\xff")
	case "parent": // without a record
		s.must("HSET", key, record(1).Hash, "\xffPx\xff")
	case "value": // of another length
		s.must("HSET", key, record(1).Hash, "\xffP"+record(1).Prefix+"\xffR\x02"+strings.Repeat("\x00", 12)+"w\xffVx\xff")
	default:
		for _, f := range fields() {
			s.must("HSET", key, f, "garbage")
		}
	}
}
