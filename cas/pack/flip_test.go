package pack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// verdict is what became of a damage.
type verdict uint8

const (
	harmless verdict = iota // the state is that of the undamaged store
	told                    // by Open, a check or a scrub
	verdicts
)

func (v verdict) String() string { return [...]string{"harmless", "told"}[v] }

// judged opens a damaged disk for reading and for writing and reports what
// became of the damage. It ends the test if a wrong byte is served, if the
// state is another one and nobody tells, or if using the store makes it worse.
func (r *ruin) judged(t testing.TB, d *vfs.Disk, what string) verdict {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(what)
		}
	}()
	v := r.readOnly(t, d.Snapshot(), what)
	v = max(v, r.readWrite(t, d.Snapshot(), what))
	r.repaired(t, d, v, what)
	return v
}

// repaired mends the store. Then it can be opened, nothing is told twice but
// damaged records, and no more is lost than before.
func (r *ruin) repaired(t testing.TB, d *vfs.Disk, v verdict, what string) {
	t.Helper()
	o := ruinOptions(d.Process())
	o.Repair = true
	s, err := Open("ruin", o)
	if err != nil {
		require.True(t, v == told && known(err), "%s: %v", what, err)
		return
	}
	_, err = s.Repair(context.Background(), cas.RepairOptions{})
	require.NoError(t, err, what)
	require.NoError(t, s.Close(), what)
	s, err = Open("ruin", ruinOptions(d.Process()))
	require.NoError(t, err, what)
	defer func() { require.NoError(t, s.Close()) }()
	list, err := s.Catalog().Entries(context.Background())
	require.NoError(t, err, what)
	for _, e := range list {
		require.Contains(t, r.refs, e.Root, what)
	}
	bad := r.wrong(t, s)
	require.LessOrEqual(t, len(bad), r.most, "%s: what is lost is in the packs", what)
	for _, p := range problems(t, s) {
		if p.Digest.Valid() && p.Digest != r.gone { // its quarantine may be what was lost
			require.Contains(t, bad, p.Digest, what)
		}
	}
	_, err = s.Collect(context.Background(), r.collect())
	require.NoError(t, err, what)
	needed := r.needed(list)
	for d := range r.wrong(t, s) {
		require.True(t, bad[d] != nil || !needed[d], "%s: a collection took %v", what, d)
	}
}

// needed are the blobs that snapshots need.
func (r *ruin) needed(list []cas.Entry) map[digest.Digest]bool {
	all := map[digest.Digest]bool{}
	for _, e := range list {
		for _, d := range r.refs[e.Root] {
			all[d] = true
		}
	}
	return all
}

// known reports whether an error is one of those that damage may cause.
func known(err error) bool {
	for _, is := range []error{kvferry.ErrCorrupt, kvferry.ErrUnsupported, kvferry.ErrInvalid, kvferry.ErrNotFound} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func (r *ruin) readOnly(t testing.TB, d *vfs.Disk, what string) verdict {
	t.Helper()
	o := ruinOptions(d.Process())
	o.ReadOnly = true
	s, err := Open("ruin", o)
	if err != nil {
		require.True(t, known(err), "%s: %v", what, err)
		return told
	}
	defer func() { require.NoError(t, s.Close()) }()
	same := r.same(t, s)
	found := findings(t, s)
	require.True(t, same || found > 0, "%s: nobody tells", what)
	if found > 0 {
		return told
	}
	return harmless
}

// findings counts what a check and a scrub report, what the cache lost too.
func findings(t testing.TB, s *Store) int {
	t.Helper()
	var n atomic.Int64
	report := func(p cas.Problem) { n.Add(1) }
	require.NoError(t, s.Check(context.Background(), report))
	require.NoError(t, s.Scrub(context.Background(), cas.ScrubOptions{Report: report}))
	return int(n.Load())
}

// readWrite uses the store. If it can be opened, then all that can be read
// before can be read after, whatever was done.
func (r *ruin) readWrite(t testing.TB, d *vfs.Disk, what string) verdict {
	t.Helper()
	s, err := Open("ruin", ruinOptions(d.Process()))
	if err != nil {
		require.True(t, known(err), "%s: %v", what, err)
		return told
	}
	entries, err := s.Catalog().Entries(context.Background())
	require.NoError(t, err, what)
	require.True(t, slices.EqualFunc(entries, r.entries, sameEntry), "%s: the catalog is another one", what)
	bad := r.wrong(t, s)
	found := findings(t, s)
	for d := range bad {
		require.True(t, found > 0 || r.cached[d], "%s: %v is lost and nobody tells", what, d)
	}
	_, err = s.Collect(context.Background(), r.collect())
	require.NoError(t, err, what)
	after := r.wrong(t, s)
	for d, err := range after {
		// A damaged pack of the cache is given up.
		require.True(t, bad[d] != nil || r.cached[d] && found > 0, "%s: a collection lost a blob: %v", what, err)
	}
	require.NoError(t, s.Close(), what)
	if found > 0 {
		return told
	}
	return harmless
}

// flipEvery is one in how many bits of zeros the short form flips, flipOther
// one in how many others.
const (
	flipEvery = slow << 15
	flipOther = slow * 101
)

// TestFlipEveryBit flips the bits of a small store one at a time.
func TestFlipEveryBit(t *testing.T) {
	t.Parallel()
	for _, rest := range []bool{true, false} {
		t.Run(fmt.Sprintf("rest=%t", rest), func(t *testing.T) {
			t.Parallel()
			r := buildRuin(t, rest)
			r.most = 1
			require.Equal(t, harmless, r.judged(t, r.disk.Snapshot(), "nothing"), "without damage")
			var all []flip
			for name, b := range contentOf(t, r.disk) {
				all = append(all, flipsOf(name, b)...)
			}
			counts := r.flipAll(t, all)
			t.Logf("%d bits flipped: %v", len(all), counts)
		})
	}
}

// flip is one bit of a file.
type flip struct {
	name string
	bit  int64
}

// flipsOf chooses the bits: all that are not in long runs of zeros, and some of
// those. The short form takes a part of them.
func flipsOf(name, b string) []flip {
	dice := rand.New(rand.NewPCG(uint64(len(b)), 1))
	var out []flip
	for i := range len(b) {
		sector := i &^ 63
		quiet := strings.Trim(b[sector:min(sector+64, len(b))], "\x00") == ""
		for k := range 8 {
			n := flipOther
			if quiet {
				n = flipEvery
			}
			if flipAll() || faultSoak() && !quiet {
				n = 1
			} else if faultSoak() {
				n = flipEvery / 256
			}
			if dice.IntN(n) == 0 {
				out = append(out, flip{name, int64(8*i + k)})
			}
		}
	}
	return out
}

// flipAll tells whether really every bit is wanted: that takes hours.
func flipAll() bool { return os.Getenv("KVFERRY_SOAK") == "all" }

// flipAll judges every flip on as many goroutines as there are processors.
func (r *ruin) flipAll(t *testing.T, all []flip) map[string]int {
	t.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)) && !t.Failed(); i = next.Add(1) - 1 {
				f := all[i]
				d := r.disk.Snapshot()
				flipBits(t, d.Process(), f.name, f.bit)
				v := r.judged(t, d, fmt.Sprintf("%s, byte %d, bit %d", f.name, f.bit/8, f.bit%8))
				mu.Lock()
				counts[path.Dir(f.name)+" "+v.String()]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return counts
}
