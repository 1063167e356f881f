package index_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
)

func TestViolations(t *testing.T) {
	t.Parallel()
	s := index.Scope{Model: "m", Tokenizer: "t", Adapter: index.Named("a"), Tenant: "x"}
	require.Equal(t, index.NoViolation, s.Violation(&s))
	o := s
	for _, step := range []struct {
		change func()
		want   index.Violation
		name   string
	}{
		{func() { o.Tenant = "y" }, index.CrossTenant, "cross_tenant"},
		{func() { o.Adapter = index.Adapter{} }, index.CrossAdapter, "cross_adapter"},
		{func() { o.Tokenizer = "u" }, index.CrossTokenizer, "cross_tokenizer"},
		{func() { o.Model = "n" }, index.CrossModel, "cross_model"},
	} {
		step.change()
		require.Equal(t, step.want, s.Violation(&o))
		require.Equal(t, step.want, o.Violation(&s))
		require.Equal(t, step.name, step.want.String())
	}
	require.Empty(t, index.NoViolation.String())
	o = s
	s.Adapter, o.Adapter = index.Adapter{}, index.Named("")
	require.Equal(t, index.CrossAdapter, s.Violation(&o), "none is not an adapter without a name")
	require.Equal(t, "none", s.Adapter.String())
	require.Equal(t, `""`, o.Adapter.String())
}

func TestRules(t *testing.T) {
	t.Parallel()
	none, empty := index.Key{Tokens: 1}, index.Key{Scope: index.Scope{Adapter: index.Named("")}, Tokens: 1}
	more := none
	more.Tokens = 2
	for _, c := range []struct {
		rules            index.Rules
		name             string
		adapters, tokens bool // tell keys apart
		stale            bool
	}{
		{index.Recommended, "recommended", true, false, true},
		{index.AsMemory, "as-memory", true, true, false},
		{index.AsHolt, "as-holt", false, false, false},
	} {
		require.NoError(t, c.rules.Check())
		require.Equal(t, c.name, c.rules.String())
		require.Equal(t, c.adapters, c.rules.Key(none) != c.rules.Key(empty), c.name)
		require.Equal(t, c.adapters, c.rules.Scope(none.Scope) != c.rules.Scope(empty.Scope), c.name)
		require.Equal(t, c.tokens, c.rules.Key(none) != c.rules.Key(more), c.name)
		require.Equal(t, c.stale, c.rules.Stale(), c.name)
	}
	require.ErrorIs(t, index.Rules(3).Check(), kvferry.ErrInvalid)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	var o index.Options
	o.EnsureDefaults()
	require.Equal(t, index.DefaultHistory, o.History)
	require.NoError(t, o.Validate())
	require.ErrorIs(t, (&index.Options{History: -1}).Validate(), kvferry.ErrInvalid)
	require.ErrorIs(t, (&index.Options{Rules: 9}).Validate(), kvferry.ErrInvalid)
	require.Equal(t, "clear_worker", index.DidClearWorker.String())
}

func TestAudit(t *testing.T) {
	t.Parallel()
	x := indextest.NewModel(index.Options{})
	ctx := t.Context()
	mine := index.Scope{Model: "m", Tokenizer: "t", Adapter: index.Named("a"), Tenant: "x"}
	put := func(hash string, change func(s *index.Scope)) {
		r := index.Record{Key: index.Key{Scope: mine, Prefix: "p", Hash: hash}, Worker: "w", Tier: index.HBM}
		change(&r.Scope)
		require.NoError(t, x.Put(ctx, []index.Record{r}))
	}
	tenant := func(s *index.Scope) { s.Tenant = "y" }
	model := func(s *index.Scope) { s.Model = "n" }
	put("both", tenant)
	put("both", func(*index.Scope) {})
	put("theirs", tenant)
	put("worse", model)
	put("two", model)
	put("two", tenant)
	got, err := index.AuditReuse(ctx, x, &mine, []string{"both", "theirs", "worse", "two", "nobody's", "two"})
	require.NoError(t, err)
	want := index.Audit{Safe: 1, Refused: 4}
	want.Kinds[index.CrossTenant], want.Kinds[index.CrossModel] = 3, 1
	require.Equal(t, want, got)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = index.AuditReuse(cancelled, x, &mine, []string{"both"})
	require.ErrorIs(t, err, context.Canceled)
}
