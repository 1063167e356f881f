package capture_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// killedStore names the store that the test binary, run by itself as a second
// process, captures into until it is killed.
const killedStore = "KVFERRY_TEST_CAPTURE_CHILD"

const killedPages = 48

// aged returns an engine as it is at capture number age: of its pages a third
// changes from one to the next.
func aged(t testing.TB, e *synthetic.Engine, age int) {
	t.Helper()
	page := make([]byte, e.Meta().PageBytes())
	for i := range killedPages {
		was := age - (age-i%3+3)%3 // the last capture before which the page changed
		if was < 0 {
			was = 0
		}
		binary.LittleEndian.PutUint64(page, uint64(was)<<32|uint64(i))
		for k := 8; k < len(page); k += 8 {
			binary.LittleEndian.PutUint64(page[k:], uint64(k)*uint64(was+1)*uint64(i+1))
		}
		require.NoError(t, e.WritePage(t.Context(), pager.PageID(i), page))
	}
}

func killedFormat(age int) cas.Format { return bothFormats()[age%2] }

// captureForever is the child: it tells of every page that is stored and of
// every capture that is done, after the fact.
func captureForever(t *testing.T, root string) {
	s := openDir(t, root, dir.Options{})
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	e := populated(t, 4, 2, 2, 16, pager.BF16, killedPages, 0)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Printf(format+"\n", args...)
		require.NoError(t, err)
	}
	for age := len(entries); ; age++ {
		aged(t, e, age)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{
			Format: killedFormat(age), Names: []string{fmt.Sprint("age-", age), "last"},
			Transfer: capture.Transfer{StagingBytes: 1 << 14, Progress: func(p capture.Progress) { say("stored %d", p.Pages) }},
		})
		require.NoError(t, err)
		say("committed %d %v", age, rep.Root)
	}
}

// TestKilledDuringCapture kills a capturing process at random moments, again
// and again over one store. What was committed is whole, what was not is not
// to be seen, and after a collection nothing of it is left.
func TestKilledDuringCapture(t *testing.T) {
	if root := os.Getenv(killedStore); root != "" {
		captureForever(t, root)
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()
	kills, amid := max(12/thin, 6), 0
	if soak() {
		kills = 150
	}
	committed, nameless := 0, map[int]bool{}
	for range kills {
		told, inside := killOne(t, root, rng)
		committed = max(committed, told)
		if inside {
			amid++
		}
		committed = inspectKilled(t, root, committed, nameless)
	}
	t.Logf("%d kills, %d of them in the middle of storing pages, %d captures committed", kills, amid, committed)
	require.Positive(t, amid)
	require.Greater(t, committed, kills, "children committed too")
}

// killOne runs a child and kills it after a random number of its lines. It
// returns how many captures the store holds as far as the child told, and
// whether its last word was of a capture under way.
func killOne(t *testing.T, root string, rng *rand.Rand) (committed int, inside bool) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestKilledDuringCapture$")
	cmd.Env = append(os.Environ(), killedStore+"="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	note := func() {
		var age int
		if n, _ := fmt.Sscanf(lines.Text(), "committed %d", &age); n == 1 {
			committed, inside = age+1, false
		} else if strings.HasPrefix(lines.Text(), "stored ") {
			inside = true
		}
	}
	n := 1 + rng.IntN(40)
	for range n {
		require.True(t, lines.Scan(), "the child ended by itself")
		note()
	}
	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() {
		note()
	}
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	return committed, inside
}

// inspectKilled checks the store that a killed process left, captures into it,
// collects, and checks again. It returns how many captures it holds then.
// A capture whose commit did not return may be visible without its names:
// nameless keeps its number.
func inspectKilled(t *testing.T, root string, committed int, nameless map[int]bool) int {
	ctx := t.Context()
	s, err := dir.Open(root, dir.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(t, err)
	n := len(entries)
	require.True(t, n == committed || n == committed+1, "%d snapshots of which %d were told", n, committed)
	e := populated(t, 4, 2, 2, 16, pager.BF16, killedPages, 0)
	check := func(ages ...int) {
		for _, age := range ages {
			if age < 0 || age >= n {
				continue
			}
			aged(t, e, age)
			dst := fresh(t, e)
			_, err = capture.Restore(ctx, s, entries[age].Root, dst, capture.RestoreOptions{Transfer: capture.Transfer{StagingBytes: 1 << 14}})
			require.NoError(t, err)
			want, _ := content(t, e)
			got, _ := content(t, dst)
			require.Equal(t, want, got, "age %d", age)
		}
	}
	check(0, n-2, n-1)
	if n > committed {
		nameless[committed] = true
	}
	for age := range committed {
		found, err := capture.Resolve(ctx, s, fmt.Sprint("age-", age))
		if nameless[age] && err != nil {
			require.ErrorIs(t, err, kvferry.ErrNotFound)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, entries[age].Root, found.Root)
	}
	_, err = capture.Resolve(ctx, s, fmt.Sprint("age-", n))
	require.ErrorIs(t, err, kvferry.ErrNotFound)

	aged(t, e, n)
	rep, err := capture.Capture(ctx, e, s, capture.Options{
		Format: killedFormat(n), Names: []string{fmt.Sprint("age-", n), "last"}, Transfer: capture.Transfer{StagingBytes: 1 << 14},
	})
	require.NoError(t, err)
	last, err := capture.Resolve(ctx, s, "last")
	require.NoError(t, err)
	require.Equal(t, rep.Root, last.Root)
	n++
	swept(t, s, root)
	entries, err = s.Catalog().Entries(ctx)
	require.NoError(t, err)
	require.Len(t, entries, n)
	check(0, n-3, n-2, n-1)
	return n
}

// swept collects and checks that nothing but what snapshots need is left.
func swept(t *testing.T, s cas.Store, root string) {
	_, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, nil)})
	require.NoError(t, err)
	again, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, nil)})
	require.NoError(t, err)
	require.Zero(t, again.Deleted+again.Stale)
	require.Len(t, blobsOf(t, s), int(again.Live))
	files := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	}))
	require.EqualValues(t, again.Live, files, "no file is left that is no blob")
	leases, err := os.ReadDir(filepath.Join(root, "sessions"))
	require.NoError(t, err)
	require.Empty(t, leases)
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
	require.NoError(t, err)
	require.True(t, c.Sound(), "%+v", c.Bad)
}
