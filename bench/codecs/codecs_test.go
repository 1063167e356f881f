package codecs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/codec/planes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const builtIn = "../../" + pages.BuiltIn

func env(t *testing.T) *harness.Env {
	return &harness.Env{Dir: t.TempDir(), Rounds: 1, Scale: harness.Smoke, Models: builtIn}
}

func runSuite(t *testing.T, e *harness.Env) *harness.Section {
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	require.NoError(t, err)
	require.Len(t, r.Sections, 1)
	require.Empty(t, r.Sections[0].Failed)
	return r.Sections[0]
}

func find(t *testing.T, s *harness.Section, name string) *harness.Figure {
	t.Helper()
	for _, f := range s.Figures {
		if f.Name == name {
			return f
		}
	}
	require.Fail(t, "no figure "+name)
	return nil
}

// TestSuite: every method is measured on every set; without peers nothing is
// held against them.
func TestSuite(t *testing.T) {
	e := env(t)
	e.Rounds = 2
	s := runSuite(t, e)
	for _, set := range []string{"kvlab", "s260k", "synthetic"} {
		for _, m := range methods() {
			tail := "/codec=" + m.name + "/data=" + set
			require.Len(t, find(t, s, "op=ratio"+tail).Samples, 1)
			for _, op := range []string{"op=encode", "op=decode"} {
				f := find(t, s, op+tail+"/memory=cache")
				require.Len(t, f.Samples, 2, f.Name)
				require.Positive(t, f.Samples[0])
				require.Equal(t, m.role, f.Role)
			}
		}
		require.Greater(t, find(t, s, "op=ratio/codec=fast/data="+set).Samples[0], 1.4)
		require.Equal(t, 1.0, find(t, s, "op=ratio/codec=memcpy/data="+set).Samples[0])
		dram := find(t, s, "op=decode/codec=fast/data="+set+"/memory=dram")
		require.Len(t, dram.Ratios, 2)
		require.Equal(t, memoryGoal, dram.Goal.AtLeast)
		near := find(t, s, "op=ratio/codec=fast/data="+set+"/to=exponents+huff0")
		require.InDelta(t, 1, near.Ratios[0], 0.1)
	}
	for _, set := range []string{"kvlab", "s260k"} {
		for el, least := range map[string]float64{"f16": 1.15, "e4m3": 1.15, "e5m2": 1.35} {
			tail := "/data=" + set + "/elements=" + el
			require.Greater(t, find(t, s, "op=ratio/codec=small"+tail).Samples[0], least, tail)
			require.Greater(t, find(t, s, "op=ratio/codec=zstd-klauspost"+tail).Samples[0], 1.0, tail)
		}
	}
	require.Len(t, s.Tables, 1)
	require.Len(t, s.Tables[0].Rows, 6)
	require.Len(t, s.Missing, 1)
	for _, f := range s.Figures {
		require.NotContains(t, f.Name, "codec=zipnn")
	}
}

// TestKernelShare: what a processor without AVX-512 is to reach is less, and
// one without AVX2 is held to nothing.
func TestKernelShare(t *testing.T) {
	shares := map[string]float64{"avx512": 1, "avx2": 0.5, "neon": 0, "portable": 0}
	for _, name := range planes.Kernels() {
		require.Contains(t, shares, name)
	}
	for name, want := range shares {
		require.Equal(t, want, kernelShare(name), name)
	}
}

// script makes a peer of a shell script.
func script(t *testing.T, text string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, peerName), []byte("#!/bin/sh\n"+text), 0o755))
	return dir
}

// TestPeer: the peer gets files that are pages, and what it prints is held
// against ours.
func TestPeer(t *testing.T) {
	var lines []string
	for i, op := range []string{"ratio", "encode", "decode"} {
		l := harness.PeerLine{Name: "op=" + op + "/codec=zipnn/data=kvlab/of=part", Version: "zipnn 1", Unit: harness.BytesPerSecond, Value: 1000}
		if i == 0 {
			l.Unit, l.Value = harness.Times, 1.25
		}
		text, err := json.Marshal(l)
		require.NoError(t, err)
		lines = append(lines, string(text))
	}
	lines = append(lines, `{"name":"op=encode/codec=lz4","error":"broken"}`)
	e := env(t)
	e.Rounds = 2
	e.Peers = script(t, `for f in "$@"; do case $f in *.kv) test -s "$f" && test -s "${f%.kv}.json" || exit 1;; esac; done
cat <<END
`+strings.Join(lines, "\n")+"\nEND\n")
	s := runSuite(t, e)
	require.Equal(t, []string{"zipnn 1"}, s.Versions)
	require.Equal(t, []string{"zipnn: op=encode/codec=lz4: broken"}, s.Missing)
	f := find(t, s, "op=encode/codec=fast/data=kvlab/memory=cache/to=zipnn")
	require.Len(t, f.Ratios, 2)
	require.Equal(t, f.Samples[1]/1000, f.Ratios[1])
	require.Equal(t, harness.Goal{AtLeast: zipSpeedGoal}, f.Goal)
	f = find(t, s, "op=ratio/codec=small/data=kvlab/to=zipnn")
	require.Equal(t, []float64{f.Samples[0] / 1.25}, f.Ratios)
	require.Equal(t, []float64{1.25}, find(t, s, "op=ratio/codec=zipnn/data=kvlab/of=part").Samples)

	sets, err := pages.Folder(builtIn)
	require.NoError(t, err)
	got, err := Measure(t.Context(), e, sets[:1])
	require.NoError(t, err)
	last := got[len(got)-1]
	require.Equal(t, Line{
		File: "kvlab", Codec: "zipnn", Role: "peer", Ratio: 1.25, Encode: 1e-6, Decode: 1e-6,
		Memcpy: last.Memcpy, MemcpyDRAM: last.MemcpyDRAM, Pages: 7, Threads: 1, N: 2,
	}, last)
}

func TestFailingPeerIsMissing(t *testing.T) {
	e := env(t)
	e.Peers = script(t, "echo no such thing >&2; exit 3")
	s := runSuite(t, e)
	require.Len(t, s.Missing, 1)
	require.Contains(t, s.Missing[0], "no such thing")
	zip, none := 0, (&harness.Report{Sections: []*harness.Section{s}}).Goals()
	for _, g := range none {
		if strings.HasSuffix(g.Figure, "to=zipnn") {
			require.Equal(t, "zipnn was not measured", g.Unjudged, g.Figure)
			zip++
		}
	}
	require.Positive(t, zip)
	require.Zero(t, zip%6, "six of each set")
}

func TestMeasure(t *testing.T) {
	sets, err := pages.Folder(builtIn)
	require.NoError(t, err)
	got, err := Measure(t.Context(), &harness.Env{Scale: harness.Smoke}, sets[1:])
	require.NoError(t, err)
	require.Len(t, got, len(methods()))
	for i, l := range got {
		require.Equal(t, methods()[i].name, l.Codec)
		require.Equal(t, "s260k", l.File)
		require.Equal(t, 39, l.Pages)
		require.Equal(t, 1, l.N)
		require.Equal(t, 1, l.Threads)
		for _, v := range []float64{l.Ratio, l.Encode, l.Decode, l.Memcpy, l.MemcpyDRAM} {
			require.Positive(t, v)
		}
		require.Equal(t, beyondCaches[l.Codec], l.EncodeDRAM > 0)
	}
}

// lossy loses a bit of one page.
type lossy struct{ plain }

func (lossy) decode(dst, stored []byte, _ int) error {
	copy(dst, stored)
	dst[len(dst)-1] &^= 1
	return nil
}

func TestLossIsNoticed(t *testing.T) {
	sets, err := pages.Folder(builtIn)
	require.NoError(t, err)
	m := method{"lossy", harness.Ours, "", func(*pages.Set) (coder, error) { return lossy{}, nil }}
	_, err = newSubject(m, sets[0])
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	x, err := newSubject(methods()[0], sets[0])
	require.NoError(t, err)
	x.coder = lossy{}
	r := x.rates("dram")
	x.dram = &r
	require.ErrorIs(t, newArena(sets[0], 1<<20, []*subject{x}).measure(), kvferry.ErrCorrupt)
}

// TestUnlikeData: what does not compress comes back too.
func TestUnlikeData(t *testing.T) {
	g := pages.Geometry{Layers: 2, Tokens: 3, Heads: 1, Dim: 5}
	noise := &pages.Set{Name: "noise", Geometry: g}
	x := uint64(1)
	for range 9 {
		p := make([]byte, g.PageBytes())
		for i := range p {
			x = x*6364136223846793005 + 1442695040888963407
			p[i] = byte(x >> 56)
		}
		noise.Pages = append(noise.Pages, p)
	}
	zero := &pages.Set{Name: "zero", Geometry: g, Pages: [][]byte{make([]byte, g.PageBytes())}}
	for _, set := range []*pages.Set{noise, zero} {
		for _, m := range methods() {
			_, err := newSubject(m, set)
			require.NoError(t, err, fmt.Sprint(set.Name, " ", m.name))
		}
	}
}

// goalsOf returns the goals for real pages, and why each is not judged.
func goalsOf(s *harness.Section) map[string]string {
	out := map[string]string{}
	for _, g := range (&harness.Report{Sections: []*harness.Section{s}}).Goals() {
		if !strings.Contains(g.Figure, "data=synthetic") {
			out[g.Figure] = g.Unjudged
		}
	}
	return out
}

// TestNoRealPages: what there are no pages for has its goals listed all the
// same.
func TestNoRealPages(t *testing.T) {
	t.Chdir(t.TempDir())
	e := env(t)
	e.Models = ""
	s := runSuite(t, e)
	require.Contains(t, s.Missing[0], "real pages")
	find(t, s, "op=ratio/codec=fast/data=synthetic")
	none := goalsOf(s)
	require.Len(t, none, 22)

	made, err := pages.Synthetic(pages.Geometry{Layers: 1, Tokens: 4, Heads: 2, Dim: 16}, 1, 1)
	require.NoError(t, err)
	made.Name, e.Models = "kvlab", t.TempDir()
	require.NoError(t, made.Save(e.Models))
	one := goalsOf(runSuite(t, e))
	require.Len(t, one, 22, "those of what was measured, and of what was not")
	for name, why := range none {
		require.Contains(t, one, name)
		require.Regexp(t, `^there are no pages of (kvlab|s260k) here$`, why, name)
		if strings.Contains(name, "s260k") {
			require.Equal(t, why, one[name])
		} else {
			require.NotEqual(t, why, one[name])
		}
	}

	e.Models = t.TempDir()
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.NotEmpty(t, r.Sections[0].Failed)
}
