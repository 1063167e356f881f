package sqlitehost_test

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/sqlitehost"
)

// must runs statements.
func must(t *testing.T, db *database, statements ...string) {
	t.Helper()
	for _, s := range statements {
		require.NoError(t, db.query(io.Discard, s), s)
	}
}

// gives requires what a statement gives.
func gives(t *testing.T, db *database, want, statement string) {
	t.Helper()
	got, err := db.one(statement)
	require.NoError(t, err, statement)
	require.Equal(t, want, got, statement)
}

func openOne(t *testing.T, path string, statements ...string) *database {
	t.Helper()
	db, err := open(path, statements...)
	require.NoError(t, err)
	return db
}

// rows makes up n rows of about 500 bytes for table t.
func rows(n int) string {
	return fmt.Sprintf("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d) "+
		"INSERT INTO t(k, s, b) SELECT i %% 97, printf('%%0200d', i), zeroblob(300) FROM c", n)
}

// skipBuiltin leaves out what counts calls where there is no plug-in to count
// them.
func skipBuiltin(t *testing.T) {
	if os.Getenv(cacheVariable) == "builtin" {
		t.Skip("SQLite runs on its built-in cache here")
	}
}

// TestSpill: a transaction larger than the cache. SQLite asks for pages that are
// only convenient, is refused, and writes dirty pages early.
func TestSpill(t *testing.T) {
	skipBuiltin(t)
	dir := t.TempDir()
	done := calls(t, func() {
		db := openOne(t, file(dir, "a.db"), append([]string{"PRAGMA cache_size=20", "PRAGMA cache_spill=10"}, schema...)...)
		must(t, db, "BEGIN", rows(2000), "COMMIT")
		gives(t, db, "2000|2001000", "SELECT count(*), sum(id) FROM t")
		must(t, db, "BEGIN", "UPDATE t SET b = zeroblob(700)", "ROLLBACK")
		gives(t, db, "2000|300|300", "SELECT count(*), min(length(b)), max(length(b)) FROM t")
		gives(t, db, "ok", "PRAGMA integrity_check")
		require.NoError(t, db.close())
	})
	require.Greater(t, done[sqlitehost.Refused], 100)
	require.Greater(t, done[sqlitehost.Pagecounts], 100)
	require.Greater(t, done[sqlitehost.Kept], 1000)
	require.Positive(t, done[sqlitehost.Missed])
}

// TestSavepoints: pages of nested savepoints come back as they were.
func TestSavepoints(t *testing.T) {
	dir := t.TempDir()
	db := openOne(t, file(dir, "a.db"), append([]string{"PRAGMA cache_size=15", "PRAGMA cache_spill=8"}, schema...)...)
	must(t, db, rows(500))
	must(t, db, "SAVEPOINT a", "UPDATE t SET s = 'a'", "SAVEPOINT b", "DELETE FROM t WHERE id > 100", "SAVEPOINT c", rows(300))
	gives(t, db, "400", "SELECT count(*) FROM t")
	must(t, db, "ROLLBACK TO b")
	gives(t, db, "500|a|a", "SELECT count(*), min(s), max(s) FROM t")
	must(t, db, "RELEASE b", "ROLLBACK TO a", "RELEASE a")
	gives(t, db, "500|200", "SELECT count(*), min(length(s)) FROM t")
	gives(t, db, "ok", "PRAGMA integrity_check")
	require.NoError(t, db.close())
}

// TestAutoVacuum: moving pages gives them new keys; truncation drops them.
func TestAutoVacuum(t *testing.T) {
	skipBuiltin(t)
	for _, mode := range []string{"FULL", "INCREMENTAL"} {
		dir := t.TempDir()
		done := calls(t, func() {
			db := openOne(t, file(dir, "a.db"), append([]string{"PRAGMA auto_vacuum=" + mode, "PRAGMA cache_size=30"}, schema...)...)
			must(t, db, rows(2000), "CREATE TABLE last(x)", "INSERT INTO last VALUES('kept')")
			must(t, db, "DELETE FROM t WHERE id % 2 = 0", "DELETE FROM t WHERE id < 1500", "PRAGMA incremental_vacuum")
			gives(t, db, "0", "PRAGMA freelist_count")
			gives(t, db, "kept", "SELECT x FROM last")
			gives(t, db, "250", "SELECT count(*) FROM t")
			gives(t, db, "ok", "PRAGMA integrity_check")
			require.NoError(t, db.close())
		})
		require.Positive(t, done[sqlitehost.Rekeys], mode)
		require.Positive(t, done[sqlitehost.Truncates], mode)
	}
}

// TestInMemory: the cache is the database.
func TestInMemory(t *testing.T) {
	skipBuiltin(t)
	done := calls(t, func() {
		db := openOne(t, ":memory:", append([]string{"PRAGMA auto_vacuum=FULL", "PRAGMA cache_size=10"}, schema...)...)
		must(t, db, rows(1000), "PRAGMA shrink_memory", "PRAGMA cache_size=1")
		gives(t, db, "1000|200|200", "SELECT count(*), min(length(s)), max(length(s)) FROM t")
		must(t, db, "SAVEPOINT a", "UPDATE t SET s = s || s", "ROLLBACK TO a", "DELETE FROM t WHERE id < 900")
		gives(t, db, "101", "SELECT count(*) FROM t")
		gives(t, db, "ok", "PRAGMA integrity_check")
		require.NoError(t, db.close())
	})
	require.Positive(t, done[sqlitehost.Resident])
	require.Positive(t, done[sqlitehost.Rekeys])
	require.Less(t, done[sqlitehost.Kept], 10, "pages of the database stay pinned")
}

// TestShrinkMemory: pages go, and what is read again is right.
func TestShrinkMemory(t *testing.T) {
	skipBuiltin(t)
	dir := t.TempDir()
	done := calls(t, func() {
		db := openOne(t, file(dir, "a.db"), schema...)
		must(t, db, rows(500))
		gives(t, db, "500", "SELECT count(*) FROM t")
		must(t, db, "PRAGMA shrink_memory")
		gives(t, db, "125250", "SELECT sum(id) FROM t WHERE length(b) = 300")
		require.NoError(t, db.close())
	})
	require.Positive(t, done[sqlitehost.Shrinks])
	require.Greater(t, done[sqlitehost.Created], 100)
}

// TestDamagedFile: SQLite reads past pages of a damaged database; errors it
// shall report, and nothing else may happen.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	db := openOne(t, file(dir, "a.db"), append([]string{"PRAGMA page_size=512"}, schema...)...)
	must(t, db, rows(300))
	require.NoError(t, db.close())
	whole, err := os.ReadFile(file(dir, "a.db"))
	require.NoError(t, err)
	found := 0
	for seed := range 60 {
		data := append([]byte(nil), whole...)
		for i := range 40 {
			data[100+(seed*7919+i*104729)%(len(data)-100)] ^= byte(1 + seed + i)
		}
		require.NoError(t, os.WriteFile(file(dir, "b.db"), data, 0o600))
		db, err := open(file(dir, "b.db"))
		if err != nil {
			found++
			continue
		}
		got, err := db.one("PRAGMA integrity_check")
		if err != nil || got != "ok" {
			found++
		}
		for _, s := range []string{"SELECT sum(length(b)) FROM t", "SELECT * FROM t ORDER BY k", "DELETE FROM t WHERE id % 2", rows(50), "VACUUM"} {
			_ = db.query(io.Discard, s) // may be an error, must be no more
		}
		_ = db.close()
	}
	require.Greater(t, found, 30)
}

// TestParallel: connections to databases of their own, and two to one, at the
// same time.
func TestParallel(t *testing.T) {
	dir := t.TempDir()
	setup := openOne(t, file(dir, "common.db"), append([]string{"PRAGMA journal_mode=WAL"}, schema...)...)
	must(t, setup, rows(200))
	var wg sync.WaitGroup
	for worker := range uint64(2) {
		wg.Go(func() {
			own := file(dir, fmt.Sprint(worker))
			if err := os.Mkdir(own, 0o700); err != nil {
				t.Error(err)
			}
			if err := workload(own, worker, 150, io.Discard); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := share(file(dir, "common.db")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	gives(t, setup, "400", "SELECT count(*) FROM t")
	gives(t, setup, "ok", "PRAGMA integrity_check")
	require.NoError(t, setup.close())
}

// share adds 100 rows to a database that another connection writes too, and
// reads between.
func share(path string) error {
	db, err := open(path, "PRAGMA busy_timeout=60000", "PRAGMA cache_size=10")
	if err != nil {
		return err
	}
	for range 20 {
		for _, s := range []string{"BEGIN IMMEDIATE", rows(5), "COMMIT", "SELECT k, max(s) FROM t GROUP BY k"} {
			if err := db.query(io.Discard, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
	}
	return db.close()
}

// TestSameAsBuiltin: a random workload gives the same results and leaves the
// same bytes in its files as on the built-in cache. What lies in unused pages of
// a file depends on when pages were evicted; so where one group evicts otherwise
// than the built-in cache's groups of one, only lengths are the same.
func TestSameAsBuiltin(t *testing.T) {
	t.Parallel()
	for seed := range 3 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			job := fmt.Sprintf("workload %d", seed)
			want := start(t, "builtin", job)
			require.Equal(t, 6, strings.Count(want, "\n"), want) // results, four databases, an empty journal
			require.Equal(t, want, start(t, "own", job))
			require.Equal(t, lengths(want), lengths(start(t, "group", job)))
		})
	}
}

// lengths leaves out the digests of files.
func lengths(out string) string {
	return regexp.MustCompile(`(?m)^(\S+ \d+) [0-9a-f]{64}$`).ReplaceAllString(out, "$1")
}

// TestInGroup runs the scenarios with all caches in one group.
func TestInGroup(t *testing.T) {
	t.Parallel()
	if os.Getenv(cacheVariable) != "" {
		t.Skip("this is that run, or that of another cache")
	}
	out := start(t, "group", "", "-test.run", "^Test(Spill|Savepoints|AutoVacuum|InMemory|ShrinkMemory|DamagedFile|Parallel)$", "-test.v")
	require.Equal(t, 7, strings.Count(out, "--- PASS: "), out)
}
