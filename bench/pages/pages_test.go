package pages

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const builtIn = "../../" + BuiltIn

func TestBuiltInPages(t *testing.T) {
	sets, err := Folder(builtIn)
	require.NoError(t, err)
	require.Len(t, sets, 2)
	require.Equal(t, "kvlab", sets[0].Name)
	require.Equal(t, Geometry{6, 16, 2, 128}, sets[0].Geometry)
	require.Len(t, sets[0].Pages, 7)
	require.Equal(t, Geometry{5, 16, 4, 8}, sets[1].Geometry)
	require.Len(t, sets[1].Pages, 39)
	require.Equal(t, int64(39*10240), sets[1].Bytes())
	byName, err := Load(filepath.Join(builtIn, "kvlab"))
	require.NoError(t, err)
	require.Equal(t, sets[0], byName)
}

// write makes a set of two pages of 16 bytes; change changes its description.
func write(t *testing.T, change func(d map[string]any)) string {
	dir := t.TempDir()
	raw := []byte("sixteen bytes ofand so many more")
	d := map[string]any{"n_layers": 1, "page_size_tokens": 2, "n_kv_heads": 1, "head_dim": 2, "dtype": "bfloat16", "page_bytes": 16, "pages": 2}
	change(d)
	text, err := json.Marshal(d)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x[1].json"), text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x[1].kv"), raw, 0o600))
	return filepath.Join(dir, "x[1].kv")
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any
		want  error
	}{
		{"dtype", "float16", kvferry.ErrInvalid},
		{"n_layers", 0, kvferry.ErrInvalid},
		{"n_layers", -1, kvferry.ErrInvalid},
		{"head_dim", 1 << 40, kvferry.ErrInvalid},
		{"head_dim", "two", kvferry.ErrInvalid},
		{"page_bytes", 17, kvferry.ErrInvalid},
		{"page_size_tokens", 4, kvferry.ErrInvalid},
		{"pages", 0, kvferry.ErrInvalid},
		{"pages", math.MaxInt, kvferry.ErrInvalid},
		{"pages", 1, kvferry.ErrCorrupt},
		{"pages", 3, kvferry.ErrCorrupt},
		{"page_sha256", []string{"00"}, kvferry.ErrInvalid},
		{"page_sha256", []string{"00", "no"}, kvferry.ErrCorrupt},
	} {
		_, err := Load(write(t, func(d map[string]any) { d[c.key] = c.value }))
		require.ErrorIs(t, err, c.want, "%s %v", c.key, c.value)
	}
	good := write(t, func(map[string]any) {})
	s, err := Load(good)
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("sixteen bytes of"), []byte("and so many more")}, s.Pages)
	require.NoError(t, os.Rename(good, good+"z"))
	_, err = Load(good)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	_, err = Folder(filepath.Dir(good))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.NoError(t, os.Rename(good+"z", good))
	require.NoError(t, os.Remove(good[:len(good)-2]+"json"))
	_, err = Folder(filepath.Dir(good))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestFolderIsNoPattern: the set's name and its folder's may hold brackets.
func TestFolderIsNoPattern(t *testing.T) {
	from := write(t, func(map[string]any) {})
	dir := filepath.Join(filepath.Dir(from), "a[b]*c")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"x[1].kv", "x[1].json"} {
		require.NoError(t, os.Rename(filepath.Join(filepath.Dir(from), name), filepath.Join(dir, name)))
	}
	sets, err := Folder(dir)
	require.NoError(t, err)
	require.Equal(t, "x[1]", sets[0].Name)
}

func TestSynthetic(t *testing.T) {
	g := Geometry{2, 4, 2, 8}
	a, err := Synthetic(g, 5, 1)
	require.NoError(t, err)
	b, err := Synthetic(g, 3, 1)
	require.NoError(t, err)
	require.Equal(t, a.Pages[:3], b.Pages)
	c, err := Synthetic(g, 3, 2)
	require.NoError(t, err)
	require.NotEqual(t, b.Pages, c.Pages)
	require.Len(t, c.Pages[0], g.PageBytes())
	_, err = Synthetic(Geometry{2, 4, 2, 0}, 1, 1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = Synthetic(g, -1, 1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestSyntheticIsLikeReal holds what decides over ratios to the real pages'.
func TestSyntheticIsLikeReal(t *testing.T) {
	sets, err := Folder(builtIn)
	require.NoError(t, err)
	taken := sets[0]
	made, err := Synthetic(taken.Geometry, len(taken.Pages), 1)
	require.NoError(t, err)
	rk, rv := taken.Stats()
	mk, mv := made.Stats()
	for _, p := range [][2]Stats{{rk, mk}, {rv, mv}} {
		t.Logf("real %+v, made %+v", p[0], p[1])
		require.InDelta(t, p[0].Exponent, p[1].Exponent, 0.2)
		require.InDelta(t, p[0].Channel, p[1].Channel, 0.2)
		require.InDelta(t, p[0].Mantissa, p[1].Mantissa, 0.1)
		require.InDelta(t, p[0].Sign, p[1].Sign, 0.05)
		require.Less(t, p[1].Zero, 0.001)
	}
}

// column makes one page of a single channel.
func column(values ...uint16) *Set {
	s := &Set{Geometry: Geometry{1, len(values), 1, 1}}
	var p []byte
	for range 2 {
		for _, v := range values {
			p = binary.LittleEndian.AppendUint16(p, v)
		}
	}
	s.Pages = [][]byte{p}
	return s
}

func TestStats(t *testing.T) {
	const one, two, minus = 0x3f80, 0x4000, 0xbf80
	k, v := column(one, minus, one, minus, 0, 0).Stats()
	require.Equal(t, k, v)
	require.Equal(t, 4, k.Tokens)
	require.Zero(t, k.Exponent)
	require.Zero(t, k.Channel)
	require.Equal(t, 1.0, k.Same)
	require.InDelta(t, 1+1/(8*math.Ln2), k.Sign, 1e-9)
	require.Zero(t, k.SignPrev)
	require.Zero(t, k.Zero)
	k, _ = column(one, two, one, two).Stats()
	require.InDelta(t, 1+1/(8*math.Ln2), k.Exponent, 1e-9)
	require.Zero(t, k.Previous)
	require.Zero(t, k.Same)
	k, _ = column(one, 0, 0x8000, two).Stats()
	require.Equal(t, 0.5, k.Zero)
	k, _ = column(0, 0).Stats()
	require.Equal(t, Stats{}, k)
}

// TestStatsOfNoise: uniform bits have the entropies of uniform bits.
func TestStatsOfNoise(t *testing.T) {
	s := &Set{Geometry: Geometry{1, 64, 1, 64}}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2 * mostPages {
		p := make([]byte, s.PageBytes())
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		s.Pages = append(s.Pages, p)
	}
	k, _ := s.Stats()
	require.Equal(t, 64*mostPages, k.Tokens)
	for want, got := range map[float64]float64{8: k.Exponent, 8.00001: k.Channel, 7: k.Mantissa, 1: k.Sign, 1.00001: k.SignPrev} {
		require.InDelta(t, want, got, 0.02)
	}
}

func TestDescribe(t *testing.T) {
	var section harness.Section
	s := column(0x3f80, 0x4000)
	s.Name = "two"
	Describe(&section, s, s)
	require.Len(t, section.Tables, 1)
	require.Len(t, section.Tables[0].Rows, 4)
	for _, row := range section.Tables[0].Rows {
		require.Len(t, row, len(section.Tables[0].Head))
		require.Equal(t, "two", row[0])
	}
}

// FuzzDescription: no description makes Load fail in another way than it says.
func FuzzDescription(f *testing.F) {
	f.Add([]byte(`{"n_layers":1,"page_size_tokens":2,"n_kv_heads":1,"head_dim":2,"dtype":"bfloat16","page_bytes":16,"pages":2}`))
	f.Add([]byte(`{"n_layers":1e99}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(path+".json", text, 0o600))
		require.NoError(t, os.WriteFile(path+".kv", bytes.Repeat([]byte("sixteen bytes of"), 2), 0o600))
		s, err := Load(path)
		if err != nil {
			require.True(t, isTyped(err), err)
			return
		}
		require.Equal(t, int64(32), s.Bytes())
	})
}

func isTyped(err error) bool {
	return errors.Is(err, kvferry.ErrInvalid) || errors.Is(err, kvferry.ErrCorrupt)
}

func TestSave(t *testing.T) {
	s, err := Synthetic(Geometry{2, 4, 2, 8}, 3, 1)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, s.Save(dir))
	back, err := Load(filepath.Join(dir, "synthetic.kv"))
	require.NoError(t, err)
	s.Real = true // a file does not tell
	require.Equal(t, s, back)
	require.Error(t, s.Save(filepath.Join(dir, "nothing")))
}
