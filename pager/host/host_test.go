package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
	"github.com/kvferry/kvferry/pager/pagertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dense keeps each part in a region of its own, pages one after the other with
// 3 bytes between them.
func dense(m pager.Meta, pages int) *pager.Layout {
	l := &pager.Layout{Meta: m, Pages: pages, Runs: make([][]pager.Run, len(m.Parts))}
	for i, p := range m.Parts {
		n := int64(p.Bytes)
		l.Regions = append(l.Regions, pager.Region{Bytes: int64(pages) * (n + 3), Stride: n + 3})
		if n > 0 {
			l.Runs[i] = []pager.Run{{Region: i, Bytes: n, Count: 1}}
		}
	}
	return l
}

// factory opens plain geometries in the layout of build and others dense.
func factory(build func(pager.Meta, int) (*pager.Layout, error), wrap func(*engine) host.Engine) pagertest.Factory {
	return func(tb testing.TB, m pager.Meta, capacity int) pager.Pager {
		l := dense(m, capacity)
		if m.IsPlain() {
			var err error
			l, err = build(m, capacity)
			require.NoError(tb, err)
		}
		p, err := host.New(host.Config{Layout: l, Regions: memory(l), Engine: wrap(newEngine(m.PageTokens, capacity))})
		require.NoError(tb, err)
		return p
	}
}

func asIs(e *engine) host.Engine { return e }

func ordered(order string) func(pager.Meta, int) (*pager.Layout, error) {
	return func(m pager.Meta, pages int) (*pager.Layout, error) { return pager.KVOrdered(m, pages, order) }
}

func TestConformance(t *testing.T) {
	t.Parallel()
	builds := map[string]func(pager.Meta, int) (*pager.Layout, error){
		"dense":        func(m pager.Meta, pages int) (*pager.Layout, error) { return dense(m, pages), nil },
		"kv-outermost": pager.KVOutermost,
		"packed":       pager.KVPacked,
		"pools":        pager.TokenPools,
		"hnd":          func(m pager.Meta, pages int) (*pager.Layout, error) { return pager.KVPerPage(m, pages, true) },
	}
	for _, order := range pager.Orders() {
		builds[order] = ordered(order)
	}
	for name, build := range builds {
		t.Run("layout="+name, func(t *testing.T) {
			t.Parallel()
			pagertest.Run(t, factory(build, func(e *engine) host.Engine { return able{e} }))
		})
	}
	t.Run("layout=BHLNC/million-pages", func(t *testing.T) {
		t.Parallel()
		pagertest.RunLarge(t, factory(ordered("BHLNC"), asIs))
	})
}

func TestAbilitiesAreTheEngines(t *testing.T) {
	t.Parallel()
	m := plainMeta(t)
	plain := pager.AbilitiesOf(factory(pager.KVPacked, asIs)(t, m, 2))
	require.Equal(t, pager.Abilities{}, plain)
	a := pager.AbilitiesOf(factory(pager.KVPacked, func(e *engine) host.Engine { return able{e} })(t, m, 2))
	require.NotNil(t, a.Releaser)
	require.NotNil(t, a.Reserver)
	require.Nil(t, a.Generations)
	require.Nil(t, a.Digester)
	require.Nil(t, a.Mover)
}

func TestGuardDecidesOnPages(t *testing.T) {
	t.Parallel()
	m := plainMeta(t)
	var e *engine
	p := factory(pager.KVPacked, func(x *engine) host.Engine { e = x; return guarded{x} })(t, m, 4)
	buf := make([]byte, m.PageBytes())
	require.ErrorIs(t, p.ReadPage(t.Context(), 0, buf), kvferry.ErrNotFound)
	require.ErrorIs(t, p.WritePage(t.Context(), 0, buf), kvferry.ErrNotFound)
	ids, err := p.AllocatePages(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, p.WritePage(t.Context(), ids[0], buf))
	require.NoError(t, p.ReadPage(t.Context(), ids[0], buf))
	e.down = true
	require.ErrorIs(t, p.ReadPage(t.Context(), ids[0], buf), kvferry.ErrClosed)
	require.ErrorIs(t, p.WritePage(t.Context(), ids[0], buf), kvferry.ErrClosed)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	l := must(t)(pager.KVPacked(plainMeta(t), 4))
	mem := memory(l)
	short := append(append([][]byte{}, mem[:3]...), mem[3][1:])
	shared := append(append([][]byte{}, mem[:3]...), mem[0])
	bad := *l
	bad.Pages++
	e := newEngine(nP, 4)
	for name, c := range map[string]host.Config{
		"no layout":       {Regions: mem, Engine: e},
		"no engine":       {Layout: l, Regions: mem},
		"too few regions": {Layout: l, Regions: mem[:3], Engine: e},
		"short region":    {Layout: l, Regions: short, Engine: e},
		"shared memory":   {Layout: l, Regions: shared, Engine: e},
		"bad layout":      {Layout: &bad, Regions: mem, Engine: e},
	} {
		_, err := host.New(c)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
}

func TestCopiesDoNotAllocate(t *testing.T) {
	m := plainMeta(t)
	p := factory(ordered("BHLNC"), asIs)(t, m, 2)
	buf := make([]byte, m.PageBytes())
	ctx := context.Background()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if p.WritePage(ctx, 1, buf) != nil || p.ReadPage(ctx, 1, buf) != nil {
			panic("copy failed")
		}
	}))
}

func mapped(t *testing.T, l *pager.Layout) (*host.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kv")
	require.NoError(t, os.WriteFile(path, make([]byte, l.Regions[0].Bytes), 0o600))
	f, err := host.MapFile(path, 0, host.ReadWrite)
	require.NoError(t, err)
	return f, path
}

func TestMappedFileIsShared(t *testing.T) {
	t.Parallel()
	m := plainMeta(t)
	l := must(t)(pager.KVOrdered(m, 3, "BLNHC"))
	f, path := mapped(t, l)
	other, err := host.MapFile(path, l.Regions[0].Bytes, host.ReadOnly)
	require.NoError(t, err)
	w, err := host.New(host.Config{Layout: l, Regions: [][]byte{f.Bytes()}, Files: []*host.File{f}, Engine: newEngine(nP, 3)})
	require.NoError(t, err)
	r, err := host.New(host.Config{Layout: l, Regions: [][]byte{other.Bytes()}, Files: []*host.File{other}, Engine: newEngine(nP, 3)})
	require.NoError(t, err)
	src, dst := make([]byte, m.PageBytes()), make([]byte, m.PageBytes())
	for i := range src {
		src[i] = value(1, i)
	}
	require.NoError(t, w.WritePage(t.Context(), 1, src))
	require.NoError(t, r.ReadPage(t.Context(), 1, dst))
	require.Equal(t, src, dst)
	require.ErrorIs(t, r.WritePage(t.Context(), 1, src), kvferry.ErrReadOnly)

	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Close(), kvferry.ErrClosed)
	require.ErrorIs(t, w.WritePage(t.Context(), 1, src), kvferry.ErrClosed)
	require.ErrorIs(t, w.ReadPage(t.Context(), 1, dst), kvferry.ErrClosed)
	require.Nil(t, f.Bytes())
	_, err = host.New(host.Config{Layout: l, Regions: [][]byte{make([]byte, l.Regions[0].Bytes)}, Files: []*host.File{other, f}, Engine: newEngine(nP, 3)})
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.NoError(t, other.Close(), "what New held for a moment it let go")
}

func TestTruncatedMappingIsAnError(t *testing.T) {
	t.Parallel()
	l := must(t)(pager.KVOrdered(plainMeta(t), 3, "BLNHC"))
	f, path := mapped(t, l)
	defer func() { require.NoError(t, f.Close()) }()
	p, err := host.New(host.Config{Layout: l, Regions: [][]byte{f.Bytes()}, Files: []*host.File{f}, Engine: newEngine(nP, 3)})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 0))
	buf := make([]byte, l.Meta.PageBytes())
	require.ErrorIs(t, p.ReadPage(t.Context(), 0, buf), kvferry.ErrClosed)
	require.ErrorIs(t, p.WritePage(t.Context(), 0, buf), kvferry.ErrClosed)
}

func TestMapFileRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, make([]byte, 100), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	require.NoError(t, os.Symlink(file, filepath.Join(dir, "link")))
	for _, c := range []struct {
		name string
		size int64
		mode host.Access
		want error
	}{
		{"missing", 0, host.ReadOnly, kvferry.ErrNotFound},
		{"link", 0, host.ReadOnly, kvferry.ErrInvalid},
		{"empty", 0, host.ReadOnly, kvferry.ErrInvalid},
		{"", 0, host.ReadOnly, kvferry.ErrInvalid}, // the directory
		{"file", 101, host.ReadWrite, kvferry.ErrInvalid},
		{"file", -1, host.ReadWrite, kvferry.ErrInvalid},
		{"file", 0, 0, kvferry.ErrInvalid},
	} {
		_, err := host.MapFile(filepath.Join(dir, c.name), c.size, c.mode)
		require.ErrorIs(t, err, c.want, "%+v", c)
	}
	f, err := host.MapFile(file, 60, host.ReadOnly)
	require.NoError(t, err)
	require.Len(t, f.Bytes(), 60)
	require.NoError(t, f.Close())
}

func BenchmarkPages(b *testing.B) {
	for _, order := range []string{"BLNHC", "BHLNC"} {
		b.Run(fmt.Sprintf("layout=%s", order), func(b *testing.B) { pagertest.Bench(b, factory(ordered(order), asIs)) })
	}
}
