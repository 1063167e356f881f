// Command sqlbench times a fixed workload of SQL on SQLite with its built-in page
// cache or with that of package plugin, once, and prints a line of JSON for
// kvferry's harness (bench/harness/peer.go):
//
//	sqlbench --dir DIR --rows N builtin|own|group
//
// The line is op=sql/cache=CACHE, in seconds: N rows with an index, put in, read
// by both keys, changed, and counted, in a file much larger than the cache of
// SQLite's default size, without syncs. The note has a sum over what was read,
// which is the same for all caches.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver

	"github.com/kvferry/kvferry/internal/sqlitehost"
	"github.com/kvferry/kvferry/pagecache"
)

func main() {
	dir := flag.String("dir", "", "where the database is made")
	rows := flag.Int("rows", 30_000, "of the table")
	flag.Parse()
	if err := run(*dir, *rows, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "sqlbench:", err)
		os.Exit(1)
	}
}

// line is what the harness reads.
type line struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Unit    string  `json:"unit"`
	Value   float64 `json:"value"`
	Note    string  `json:"note"`
}

func run(dir string, rows int, cache string) (err error) {
	if dir == "" || rows < 1 {
		return errors.New("usage: sqlbench --dir DIR --rows N builtin|own|group")
	}
	if err := register(cache); err != nil {
		return err
	}
	home, err := os.MkdirTemp(dir, "sqlbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	db, err := open(filepath.Join(home, "bench.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx := context.Background()
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	start := time.Now()
	sum, err := work(ctx, db, rows)
	took := time.Since(start)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("no syncs; what was read adds up to %d", sum)
	return json.NewEncoder(os.Stdout).Encode(line{"op=sql/cache=" + cache, "SQLite " + version, "s", took.Seconds(), note})
}

// register makes SQLite use the cache.
func register(cache string) error {
	switch cache {
	case "builtin":
		return nil
	case "own", "group":
		mem, err := pagecache.NewArena(pagecache.ArenaOptions{LimitBytes: 4 << 30})
		if err != nil {
			return err
		}
		return sqlitehost.Register(mem, cache == "group")
	}
	return fmt.Errorf("no cache %q: want builtin, own or group", cache)
}

// open makes a database that one connection uses, so that there is one cache.
func open(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", path+"?_journal_mode=OFF&_synchronous=OFF&_locking_mode=EXCLUSIVE")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// work does the same statements for the same number of rows, and returns a sum
// over what it read.
func work(ctx context.Context, db *sql.DB, rows int) (sum int64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tx.Commit()) }()
	if _, err := tx.ExecContext(ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v TEXT); CREATE INDEX tk ON t(k)"); err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	if err := insert(ctx, tx, r, rows); err != nil {
		return 0, err
	}
	for _, step := range []struct {
		statement string
		reads     bool
	}{
		{"SELECT length(v) + id FROM t WHERE id = ?", true},
		{"SELECT count(*) + coalesce(sum(length(v)), 0) FROM t WHERE k BETWEEN ? AND ? + 10", true},
		{"UPDATE t SET v = v || 'x', k = k + 1 WHERE id = ?", false},
		{"DELETE FROM t WHERE id = ? AND id % 4 = 0", false},
	} {
		got, err := repeat(ctx, tx, r, rows, step.statement, step.reads)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", step.statement, err)
		}
		sum += got
	}
	var total int64
	err = tx.QueryRowContext(ctx, "SELECT sum(k) + count(*) FROM t").Scan(&total)
	return sum + total, err
}

func insert(ctx context.Context, tx *sql.Tx, r *rand.Rand, rows int) error {
	s, err := tx.PrepareContext(ctx, "INSERT INTO t VALUES(?, ?, ?)")
	if err != nil {
		return err
	}
	for i := range rows {
		if _, err := s.ExecContext(ctx, i, r.IntN(rows), strings.Repeat("v", 20+r.IntN(200))); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

// repeat runs a statement for as many random rows as there are, and adds up what
// it reads.
func repeat(ctx context.Context, tx *sql.Tx, r *rand.Rand, rows int, statement string, reads bool) (sum int64, err error) {
	s, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	args := make([]any, strings.Count(statement, "?"))
	for range rows {
		at := r.IntN(rows)
		for i := range args {
			args[i] = at
		}
		if !reads {
			if _, err := s.ExecContext(ctx, args...); err != nil {
				return 0, err
			}
			continue
		}
		var v int64
		if err := s.QueryRowContext(ctx, args...).Scan(&v); err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}
