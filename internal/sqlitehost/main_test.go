package sqlitehost_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/internal/sqlitehost"
	"github.com/kvferry/kvferry/pagecache"
)

// What a process of this program is, since SQLite has one page cache for its
// whole life: the tests start others of it.
const (
	cacheVariable  = "KVFERRY_SQLITEHOST_CACHE"  // own (if not set), group or builtin
	memoryVariable = "KVFERRY_SQLITEHOST_MEMORY" // anonymous (if not set), or malloc: each page for itself, for sanitizers
	childVariable  = "KVFERRY_SQLITEHOST_CHILD"  // do this and exit: workload SEED
)

func TestMain(m *testing.M) {
	mem, err := register(os.Getenv(cacheVariable), os.Getenv(memoryVariable))
	if err == nil && os.Getenv(childVariable) != "" {
		err = child(os.Getenv(childVariable))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(childVariable) != "" {
		os.Exit(settle(mem))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.Exit(max(code, settle(mem))) }))
}

// register puts SQLite on the page cache, unless the built-in one is wanted.
func register(cache, memory string) (*pagecache.Arena, error) {
	if cache == "builtin" {
		return nil, nil
	}
	o := pagecache.ArenaOptions{LimitBytes: 1 << 30}
	if memory == "malloc" {
		o.Allocator, o.SlabBytes = sqlitehost.Malloc(), 1
	}
	mem, err := pagecache.NewArena(o)
	if err != nil {
		return nil, err
	}
	return mem, sqlitehost.Register(mem, cache == "group")
}

// settle tells whether SQLite has given everything back and no call went wrong.
func settle(mem *pagecache.Arena) int {
	if mem == nil {
		return 0
	}
	_, open, faults := sqlitehost.Report()
	if err := mem.Close(); open != 0 || faults != nil || err != nil {
		fmt.Fprintln(os.Stderr, "open caches:", open, "faults:", faults, "memory:", err)
		return 1
	}
	return 0
}

// child does one job and prints its result.
func child(job string) error {
	dir, err := os.MkdirTemp("", "sqlitehost")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var name string
	var number uint64
	if _, err := fmt.Sscanf(job, "%s %d", &name, &number); err != nil {
		return fmt.Errorf("child %q: %w", job, err)
	}
	if name != "workload" {
		return fmt.Errorf("unknown job %q", job)
	}
	return printWorkload(dir, number)
}

// start runs another process of this program on the given cache.
func start(t testing.TB, cache, job string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), cacheVariable+"="+cache, childVariable+"="+job)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, "%s on %s: %s%s", job, cache, out, problems.String())
	return string(out)
}

// calls returns what SQLite called while f ran.
func calls(t *testing.T, f func()) sqlitehost.Calls {
	t.Helper()
	before, _, _ := sqlitehost.Report()
	f()
	after, _, faults := sqlitehost.Report()
	require.NoError(t, faults)
	return after.Since(before)
}

func file(dir, name string) string { return filepath.Join(dir, name) }
