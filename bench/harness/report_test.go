package harness_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixed is a report whose figures are known.
func fixed(t *testing.T) *harness.Report {
	t.Helper()
	text, err := os.ReadFile("testdata/report.json")
	require.NoError(t, err)
	var r harness.Report
	require.NoError(t, json.Unmarshal(text, &r))
	return &r
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestMarkdown(t *testing.T) {
	page := fixed(t).Markdown()
	golden(t, "testdata/report.md", page)
	text := string(page)
	for _, want := range []string{
		"3 of 6 goals were reached; **missed**: 1; not judged: 2.", "**missed**", "**Suites that failed**, so that goals of theirs may not be listed: store.", "* codec: lz4: not installed", "* store: fio: no O_DIRECT", "* copy: GPU: there is none",
		"Nothing was measured.", "not measured", "&lt;script&gt;", `A \| B &lt;b&gt;`, "it ended &lt;early&gt;", `synthetic\|pages`,
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "<script>")
	require.NotContains(t, text, "<early>")
}

func TestGo(t *testing.T) {
	var b bytes.Buffer
	for _, s := range fixed(t).Sections {
		require.NoError(t, s.WriteGo(&b))
	}
	golden(t, "testdata/report.txt", b.Bytes())
	require.Contains(t, b.String(), "BenchmarkStore/op=has/by=pack 1 150 ns/op\n")

	b.Reset()
	odd := &harness.Section{Name: "x"}
	odd.Figure("a b\tc\u00a0d", harness.Plain).Add(1)
	require.NoError(t, odd.WriteGo(&b))
	require.Equal(t, "BenchmarkX/a_b_c_d 1 1 n\n", b.String())
}

func TestGoals(t *testing.T) {
	goals := fixed(t).Goals()
	require.Len(t, goals, 6)
	require.Equal(t, "**missed**", goals[0].Result())
	require.Equal(t, "ratio, codec=fast, data=s260k", goals[0].Figure)
	require.True(t, goals[3].Reached)
	require.True(t, goals[3].Close, "70 % lies between 59 % and 76 %")
	require.Equal(t, "reached, within the interval", goals[3].Result())
	require.Equal(t, "≤ 200 ns", goals[5].Goal)
	require.Equal(t, "190 ns", goals[5].Median)
	for i, want := range []harness.GoalLine{
		{Figure: "encode, codec=small, data=kvlab", Goal: "≥ 10.0x", Unjudged: "it could not be reached: <no peer>"},
		{Figure: "put, codec=none", Goal: "≤ 5.00/s", Unjudged: "it was not measured"},
	} {
		want.Suite = "codec"
		require.Equal(t, want, goals[1+i])
		require.Equal(t, "not judged: "+want.Unjudged, goals[1+i].Result())
	}
	reached, missed, unjudged := harness.Tally(goals)
	require.Equal(t, []int{3, 1, 2}, []int{reached, missed, unjudged})
}

// TestNothing is the report of a run that measured nothing.
func TestNothing(t *testing.T) {
	r := &harness.Report{}
	require.Contains(t, string(r.Markdown()), "0 of 0 goals")
	require.Empty(t, r.Missing())
	require.Empty(t, r.Failed())
	require.NotContains(t, string(r.Markdown()), "failed")
}
