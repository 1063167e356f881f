package tiered_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// TestMain lets the tests' directories be in memory where there is such a
// place: they hold thousands of files that are synchronised.
func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		child(root)
		return
	}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() && os.Getenv("TMPDIR") == "" {
		_ = os.Setenv("TMPDIR", "/dev/shm") // without it the tests are only slower
	}
	goleak.VerifyTestMain(m)
}

// abilities are what every pair of stores has here.
func abilities(more ...castest.Ability) []castest.Ability {
	return append([]castest.Ability{castest.Clock, castest.Enumerates, castest.Batches,
		castest.Collects, castest.Checks, castest.Quarantines, castest.Describes}, more...)
}

// opener opens one of the two stores, in a directory of that name.
type opener func(t testing.TB, s castest.Setup, name string) cas.Store

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name      string
		near, far opener
		more      []castest.Ability
		also      bool // the others have the same goroutines, over the same stores
	}{
		{"mem-mem", openMem, openMem, nil, false},
		{"mem-dir", openMem, openDir, []castest.Ability{castest.Persistent}, true},
		{"mem-pack", openMem, openPack, []castest.Ability{castest.Persistent}, true},
		{"pack-dir", openPack, openDir, []castest.Ability{castest.Persistent}, false},
	} {
		if underRace && x.also {
			continue
		}
		t.Run("write-through/"+x.name, func(t *testing.T) {
			t.Parallel()
			castest.Run(t, castest.Config{
				Open: func(t testing.TB, s castest.Setup) cas.Store {
					near := castest.Setup{Dir: s.Dir, Now: s.Now}
					return openWith(t, tiered.Options{Near: x.near(t, near, "near"), Far: x.far(t, s, "far"), Clock: s.Now})
				},
				Abilities: abilities(append(x.more, castest.Quota)...),
			})
		})
	}
	// The quota of write-back is that of a buffer: what was copied makes room,
	// and has to be put again then. See TestNearMakesRoom. Both stores are of a
	// kind, because the suite adds up bytes as they are stored.
	for _, x := range []struct {
		name      string
		near, far opener
	}{{"dir-dir", openDir, openDir}, {"pack-pack", openPack, openPack}} {
		t.Run("write-back/"+x.name, func(t *testing.T) {
			t.Parallel()
			castest.Run(t, castest.Config{
				Open: func(t testing.TB, s castest.Setup) cas.Store {
					return openWith(t, tiered.Options{
						Mode: tiered.WriteBack, QueueDir: filepath.Join(s.Dir, "queue"), References: references,
						Near: x.near(t, s, "near"), Far: x.far(t, s, "far"), Clock: s.Now,
					})
				},
				Abilities: abilities(castest.Persistent),
			})
		})
	}
}

func openMem(t testing.TB, s castest.Setup, _ string) cas.Store {
	t.Helper()
	store, err := mem.Open(mem.Options{QuotaBytes: s.QuotaBytes, Now: s.Now})
	require.NoError(t, err)
	return store
}

func openDir(t testing.TB, s castest.Setup, name string) cas.Store {
	t.Helper()
	store, err := dir.Open(filepath.Join(s.Dir, name), dir.Options{QuotaBytes: s.QuotaBytes, Clock: s.Now, DropUnlisted: true})
	require.NoError(t, err)
	return store
}

func openPack(t testing.TB, s castest.Setup, name string) cas.Store {
	t.Helper()
	store, err := pack.Open(filepath.Join(s.Dir, name), pack.Options{QuotaBytes: s.QuotaBytes, Clock: s.Now})
	require.NoError(t, err)
	return store
}

// openWith opens a store that owns its two.
func openWith(t testing.TB, o tiered.Options) *tiered.Store {
	t.Helper()
	o.CloseStores = true
	s, err := tiered.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the test may have closed it
	return s
}

// references reads the manifests of the tests and of castest: the digests of
// lines that hold one.
func references(s cas.Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		r, err := cas.NewReader(s, nil)
		if err != nil {
			return err
		}
		manifest, err := r.ReadAll(ctx, e.Root, 1<<20)
		if err != nil {
			return fmt.Errorf("manifest %v: %w", e.Root, err)
		}
		for _, d := range []digest.Digest{e.Root, e.Image} {
			if d.Valid() {
				if err := visit(d); err != nil {
					return err
				}
			}
		}
		for line := range strings.Lines(string(manifest)) {
			if d, err := digest.Parse(strings.TrimSpace(line)); err == nil {
				if err := visit(d); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
