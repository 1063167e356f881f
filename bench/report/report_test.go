package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// page makes the page of the report that the harness's own tests use.
func page(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, run([]string{"-html", out, "../harness/testdata/report.json"}, io.Discard))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	return string(text)
}

func TestPage(t *testing.T) {
	text := page(t)
	for _, want := range []string{
		`<span class="reached">3 reached</span>, <span class="missed">1 missed</span>, 2 not judged, of 6.`, `<td class="">not judged: it was not measured</td>`, "lz4: not installed", "GPU: there is none", "Nothing was measured.",
		`<td class="missed">missed</td>`, "Suites that failed</span>, so that goals of theirs may not be listed: store.", "reached, within the interval", "<th>entropy of exponents</th>", `id="store"`,
		"0.10 at the start, 1.90 at the end", "zipnn 0.5.4, zstd | 1.5.", "prefers-color-scheme: dark",
	} {
		require.Contains(t, text, want)
	}
	require.Equal(t, 1, strings.Count(text, `aria-label="encode, kvlab"`))
	require.Equal(t, 1, strings.Count(text, "<svg "), "a figure alone is no chart")
}

// TestSelfContained looks for anything that a browser would fetch or run.
func TestSelfContained(t *testing.T) {
	text := page(t)
	require.NotRegexp(t, `(?i)(src|href)\s*=\s*"[^#]`, text)
	require.NotContains(t, text, "url(")
	require.NotContains(t, text, "<script")
	require.NotContains(t, text, "@import")
}

// TestColours: every colour of a plot is one of the page's, for light and dark.
func TestColours(t *testing.T) {
	_, body, ok := strings.Cut(page(t), "<body>")
	require.True(t, ok)
	require.NotRegexp(t, `(fill|stroke):#`, body)
	for _, name := range []string{"ours", "peer", "ink", "grid"} {
		require.Contains(t, body, "var(--"+name+")")
	}
}

// TestEscaping gives everything a name that would be HTML.
func TestEscaping(t *testing.T) {
	const evil = `<img src=x onerror="alert(1)">$1&`
	s := &harness.Section{Name: evil, Title: evil, Notes: []string{evil}, Versions: []string{evil}, Missing: []string{evil}, Failed: evil}
	for range 2 {
		f := s.Figure("op="+evil+"/by="+evil, harness.Seconds)
		f.Note, f.To, f.Goal, f.BestPeer = evil, evil, harness.Goal{AtMost: 1}, evil
		f.Samples, f.Ratios, f.ToPeer = []float64{1, 2}, []float64{1, 2}, []float64{1, 2}
	}
	s.Table(evil, evil).Row(evil)
	s.Part("p", evil)
	r := &harness.Report{Conditions: []harness.Condition{{Name: evil, Text: evil}}, Sections: []*harness.Section{s}}
	var b bytes.Buffer
	require.NoError(t, write(&b, r))
	require.NotContains(t, b.String(), "<img")
	require.Contains(t, b.String(), "&lt;img src=x")
}

// TestPlotsAreXML: a browser that reads the page as XML, too, sees the plots.
func TestPlotsAreXML(t *testing.T) {
	text := page(t)
	for _, svg := range regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(text, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		d.DefaultSpace = "svg"
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
		require.Contains(t, svg, `viewBox="0 0 480 `)
	}
}

// TestManyFigures: charts have a bound, and no figure is left out of them.
func TestManyFigures(t *testing.T) {
	s := &harness.Section{Name: "x", Title: "X"}
	for i := range 2*most + 2 {
		s.Figure("op=put/n="+string(rune('a'+i)), harness.PerSecond).Add(float64(i))
	}
	charts, err := plots(s)
	require.NoError(t, err)
	require.Len(t, charts, 3)
}

// TestOddSamples draws what may come: nothing but zeros, one huge, one tiny.
func TestOddSamples(t *testing.T) {
	for _, v := range [][]float64{{0, 0}, {1e18, 1e18}, {1e-9, 2e-9}, {-1, 2}} {
		s := &harness.Section{}
		s.Figure("op=a/b=c", harness.Seconds).Samples = v
		s.Figure("op=a/b=d", harness.Seconds).Samples = v
		_, err := plots(s)
		require.NoError(t, err, "%v", v)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	for _, args := range [][]string{nil, {"-html", "x"}, {"-html", filepath.Join(dir, "x"), filepath.Join(dir, "none")}, {"-html", filepath.Join(dir, "x"), broken}, {"-no"}} {
		require.Error(t, run(args, io.Discard), "%q", args)
	}
	var r harness.Report
	text, err := json.Marshal(r)
	require.NoError(t, err)
	empty := filepath.Join(dir, "empty.json")
	require.NoError(t, os.WriteFile(empty, text, 0o600))
	require.NoError(t, run([]string{"-html", filepath.Join(dir, "x"), empty}, io.Discard))
}
