package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

const document = `# Words
<!-- figures: suite | name | what it is
codec | op=encode/codec=fast/data=kvlab | encoding
store | op=has/by=pack | a question
codec | op=decode/codec=none | nothing
codec | op=none | renamed
-->
old table
<!-- end of figures -->
More words.
`

func fixed(t *testing.T) *harness.Report {
	t.Helper()
	text, err := os.ReadFile("../harness/testdata/report.json")
	require.NoError(t, err)
	var r harness.Report
	require.NoError(t, json.Unmarshal(text, &r))
	return &r
}

func TestQuote(t *testing.T) {
	got, err := quote(document, fixed(t))
	require.NoError(t, err)
	require.Contains(t, got, `# Words
<!-- figures: suite | name | what it is
codec | op=encode/codec=fast/data=kvlab | encoding
`)
	require.Contains(t, got, `-->

| what | median | interval | ratio | to the best peer | goal |
| --- | --- | --- | --- | --- | --- |
| encoding | 14.8 GB/s | 13.0 GB/s to 15.0 GB/s | 73.0 % (59.0 % to 76.0 %) of copy, data=kvlab | 73.5x (65.0x to 75.0x) of encode, codec=zipnn, data=kvlab | ≥ 70.0 %: reached, within the interval |
| a question | 190 ns | 150 ns to 220 ns (75 %) | | | ≤ 200 ns: reached, within the interval |
| nothing | not measured | | | | |
| renamed | not measured | | | | |

<!-- end of figures -->
More words.
`)
	require.NotContains(t, got, "old table")
	again, err := quote(got, fixed(t))
	require.NoError(t, err)
	require.Equal(t, got, again)
}

func TestQuoteWithoutMarks(t *testing.T) {
	for _, text := range []string{"", "<!-- figures: a", "<!-- figures: a\n-->\n table"} {
		_, err := quote(text, &harness.Report{})
		require.ErrorIs(t, err, errMarks)
	}
	path := filepath.Join(t.TempDir(), "doc.md")
	require.Error(t, quoteFile(path, &harness.Report{}))
	require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
	require.NoError(t, run([]string{"-quote", path, "../harness/testdata/report.json"}, os.Stderr))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), "14.8 GB/s")
}
