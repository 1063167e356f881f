package indextest

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// nulCase is a record that was put into an index of the original, and what came
// of asking it for another one.
type nulCase struct {
	Backend, Case                   string
	Put, Asked                      json.RawMessage
	Located, Scanned, Removed, Left int
}

// replayNUL repeats puts of records that the original's indexes on disk took for
// others, since its keys have NUL between fields. Under no rules may ours do
// so; where the difference is another one, the rules decide.
func replayNUL(t *testing.T, c Config) {
	own, err := fs.Sub(recorded, "testdata")
	require.NoError(t, err)
	lines, err := readLines(own, "index-vectors-nul.jsonl.gz")
	require.NoError(t, err)
	all := rules()
	if racing {
		all = all[:1] // one client each
	}
	for _, rule := range all {
		n := 0
		for _, text := range lines {
			var v nulCase
			require.NoError(t, json.Unmarshal(text, &v))
			if v.Backend != nulOracle(rule, v.Case) {
				continue
			}
			n++
			t.Run(rule.String()+"/"+v.Case, func(t *testing.T) { v.run(open(t, c, index.Options{Rules: rule})) })
		}
		require.Equal(t, 6, n)
	}
}

// nulOracle returns whose answer is the right one.
func nulOracle(rule index.Rules, what string) string {
	switch {
	case what == "token count" && rule != index.AsMemory, what == "adapter none / empty" && rule == index.AsHolt:
		return "holt"
	}
	return "memory"
}

func (v *nulCase) run(s *subject) {
	put, err := index.ParseKey(v.Put)
	require.NoError(s, err)
	asked, err := index.ParseKey(v.Asked)
	require.NoError(s, err)
	s.put(index.Record{Key: put, Worker: "w0", Tier: index.HBM})
	require.Len(s, s.locate(asked), v.Located)
	require.Len(s, s.scan(asked.Scope, asked.Prefix), v.Scanned)
	require.Equal(s, v.Removed, s.remove(index.Removal{Scope: asked.Scope, Worker: "w0", Hash: asked.Hash}))
	require.Len(s, s.all(), v.Left)
}
