package gpu

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

func TestFirstRuleThatFitsCounts(t *testing.T) {
	t.Parallel()
	table := &Paths{
		Out: []Rule{{RunBytes: 1000, Runs: 4, Path: Staged}, {RunBytes: 2000, Path: Plain}, {Runs: 100, Path: Direct}},
		In:  []Rule{{Path: Direct}},
	}
	for _, c := range []struct {
		runs, bytes int64
		want        Path
	}{
		{4, 4000, Staged},
		{4, 4001, Plain},  // on average just too long
		{3, 3000, Plain},  // too few
		{4, 8000, Plain},  // just short enough for the second
		{4, 8001, Staged}, // no rule fits
		{100, 200_001, Direct},
		{99, 198_001, Staged},
		{0, 0, Plain},
		{1 << 62, 1 << 62, Staged}, // products that overflow
	} {
		require.Equal(t, c.want, table.Choose(pager.Out, c.runs, c.bytes), "%d runs of %d bytes", c.runs, c.bytes)
		require.Equal(t, Direct, table.Choose(pager.In, c.runs, c.bytes))
	}
}

func TestDefaultPaths(t *testing.T) {
	t.Parallel()
	d := DefaultPaths()
	require.NoError(t, d.Validate())
	require.NoError(t, d.Fits(cuda.Facts{Name: "any"}))
	for _, way := range []pager.Direction{pager.Out, pager.In} {
		require.Equal(t, Staged, d.Choose(way, 176, 176*2048), "a page of TinyLlama in small runs")
		require.Equal(t, Direct, d.Choose(way, 1, 2048), "one piece")
		require.Equal(t, Direct, d.Choose(way, 16, 16<<20), "long runs")
	}
	d.Out[0].Path = Plain
	require.Equal(t, Staged, d.In[0].Path, "the directions share nothing")
	require.Equal(t, Staged, DefaultPaths().Out[0].Path)
}

func TestPathsAreSavedAndLoaded(t *testing.T) {
	t.Parallel()
	table := &Paths{
		Device: "NVIDIA H100", UUID: "GPU-1", Driver: 12080,
		Out: []Rule{{RunBytes: 4096, Runs: 2, Path: Staged}, {Path: Direct}}, In: []Rule{{Path: Plain}},
	}
	var b bytes.Buffer
	n, err := table.WriteTo(&b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	require.Contains(t, b.String(), `"path": "staged"`)
	got, err := LoadPaths(&b)
	require.NoError(t, err)
	require.Equal(t, table, got)
}

func TestLoadPathsRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":        ``,
		"not a table":    `[]`,
		"unknown field":  `{"device":"","ways":[]}`,
		"unknown path":   `{"out":[{"path":"fast"}]}`,
		"no path":        `{"out":[{"runs":1}]}`,
		"negative runs":  `{"in":[{"path":"plain","runs":-1}]}`,
		"negative bytes": `{"in":[{"path":"plain","run_bytes":-1}]}`,
		"two tables":     `{} {}`,
		"garbage behind": `{}x`,
		"driver":         `{"driver":-1}`,
		"long name":      `{"device":"` + strings.Repeat("x", 300) + `"}`,
		"too many":       `{"out":[` + strings.Repeat(`{"path":"plain"},`, maxRules) + `{"path":"plain"}]}`,
		"too long":       strings.Repeat(" ", maxPathsBytes) + `{}`,
	} {
		_, err := LoadPaths(strings.NewReader(text))
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
	_, err := (&Paths{Out: []Rule{{Path: 9}}}).WriteTo(&bytes.Buffer{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestPathsFitOneDeviceAndDriver(t *testing.T) {
	t.Parallel()
	f := cuda.Facts{Name: "NVIDIA H100", UUID: "GPU-1", Driver: 12080}
	for _, c := range []struct {
		table Paths
		fits  bool
	}{
		{Paths{}, true},
		{Paths{Device: "NVIDIA H100"}, true},
		{Paths{Device: "NVIDIA H100", UUID: "GPU-1", Driver: 12080}, true},
		{Paths{Device: "NVIDIA H200"}, false},
		{Paths{Device: "NVIDIA H100", UUID: "GPU-2"}, false},
		{Paths{Device: "NVIDIA H100", Driver: 13000}, false},
	} {
		err := c.table.Fits(f)
		if c.fits {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%+v", c.table)
	}
}

func TestPathNames(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Path{"direct": Direct, "staged": Staged, "plain": Plain} {
		require.Equal(t, want, p.String())
		var back Path
		require.NoError(t, back.UnmarshalText([]byte(want)))
		require.Equal(t, p, back)
	}
	require.Equal(t, "path(0)", Path(0).String())
	var p Path
	require.ErrorIs(t, p.UnmarshalText(nil), kvferry.ErrInvalid)
	_, err := p.MarshalText()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}
