package art_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		fmt.Fprintln(os.Stderr, child(spec))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// soak tells whether the long forms are wanted.
func soak() bool { return os.Getenv("KVFERRY_SOAK") == "1" }

// opened is an index with the disk that it lies on.
type opened struct {
	*art.Index
	disk    *vfs.Disk
	process *vfs.Process
	options art.Options
}

func open(t testing.TB, d *vfs.Disk, o art.Options) *opened {
	t.Helper()
	x, err := try(t, d, o)
	require.NoError(t, err)
	return x
}

func try(t testing.TB, d *vfs.Disk, o art.Options) (*opened, error) {
	p := d.Process()
	o.FS = p
	x, err := art.Open(t.Context(), "disk", o)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = x.Close() })
	return &opened{x, d, p, o}, nil
}

func configs() map[string]indextest.Config {
	config := func(o art.Options) indextest.Config {
		return indextest.Config{
			Open: func(t testing.TB, r index.Options) index.Index {
				o := o
				o.Options = r
				return open(t, vfs.NewDisk(), o)
			},
			Reopen: func(t testing.TB, x index.Index, r index.Options) index.Index {
				was := x.(*opened)
				require.NoError(t, was.Close())
				o := was.options
				o.Options = r
				return open(t, was.disk, o)
			},
			Crash: func(t testing.TB, x index.Index, r index.Options) index.Index {
				was := x.(*opened)
				was.process.Kill()
				o := was.options
				o.Options = r
				return open(t, was.disk, o)
			},
			Again: func(t testing.TB, x index.Index, r index.Options) error {
				was := x.(*opened)
				o := was.options
				o.Options = r
				_, err := try(t, was.disk, o)
				return err
			},
		}
	}
	return map[string]indextest.Config{
		"mapped":    mapped(art.Options{CompactBytes: 2000}),
		"log":       config(art.Options{CompactBytes: 1 << 30}),
		"snapshots": config(art.Options{CompactBytes: 2000}),
		"sync":      config(art.Options{Sync: true, CompactBytes: 3000}),
	}
}

// onDisk is an index in a real directory, where the log is mapped.
type onDisk struct {
	*art.Index
	dir string
}

// mapped is a config for such an index: what a killed process leaves is for
// TestKilled.
func mapped(o art.Options) indextest.Config {
	open := func(t testing.TB, dir string, r index.Options) index.Index {
		o := o
		o.Options = r
		x := openDir(t, dir, o)
		t.Cleanup(func() { _ = x.Close() })
		return &onDisk{x, dir}
	}
	return indextest.Config{
		Open: func(t testing.TB, r index.Options) index.Index { return open(t, t.TempDir(), r) },
		Reopen: func(t testing.TB, x index.Index, r index.Options) index.Index {
			require.NoError(t, x.Close())
			return open(t, x.(*onDisk).dir, r)
		},
		Again: func(t testing.TB, x index.Index, r index.Options) error {
			_, err := art.Open(t.Context(), x.(*onDisk).dir, art.Options{Options: r})
			return err
		},
	}
}

// TestSuite: with snapshots all the time, in memory and in mapped logs, the whole
// suite, which replays logs too; in the other ways the random operations alone,
// unless there is time.
func TestSuite(t *testing.T) {
	t.Parallel()
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "snapshots" || name == "mapped" || soak() {
				indextest.Run(t, c)
				return
			}
			indextest.Stateful(t, c)
		})
	}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	for name, c := range configs() {
		if name == "log" || soak() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				indextest.Traces(t, c)
			})
		}
	}
}

func TestLinearizable(t *testing.T) {
	t.Parallel()
	for name, c := range configs() {
		if name != "log" || soak() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				indextest.Linearizable(t, c)
			})
		}
	}
}

func BenchmarkSuite(b *testing.B) {
	indextest.Bench(b, indextest.Config{Open: func(t testing.TB, o index.Options) index.Index {
		return openDir(t, t.TempDir(), art.Options{Options: o})
	}})
}
