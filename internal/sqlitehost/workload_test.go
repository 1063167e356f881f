package sqlitehost_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// database is one connection.
type database struct {
	pool *sql.DB
	conn *sql.Conn
}

// open opens one connection and runs statements on it.
func open(path string, statements ...string) (*database, error) {
	pool, err := sql.Open("sqlite3", path)
	if err != nil {
		return nil, err
	}
	conn, err := pool.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	db := &database{pool, conn}
	for _, s := range statements {
		if err := db.query(io.Discard, s); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s, err), db.close())
		}
	}
	return db, nil
}

func (d *database) close() error { return errors.Join(d.conn.Close(), d.pool.Close()) }

// query runs a statement and writes the rows that it gives.
func (d *database) query(w io.Writer, statement string) (err error) {
	rows, err := d.conn.QueryContext(context.Background(), statement)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(any)
	}
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return err
		}
		var line []byte
		for _, v := range values {
			line = fmt.Appendf(line, "%v|", *v.(*any))
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one returns what a statement gives, as text.
func (d *database) one(statement string) (string, error) {
	var out strings.Builder
	err := d.query(&out, statement)
	return strings.TrimRight(out.String(), "|\n"), err
}

// schema is what the random workload works on, in each database.
var schema = []string{
	"CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, s TEXT, b BLOB)",
	"CREATE INDEX tk ON t(k)",
	"CREATE TABLE u(a TEXT PRIMARY KEY, b INTEGER) WITHOUT ROWID",
}

// openAll opens the databases of the random workload below dir: files with
// different page sizes, journals and vacuum modes and with caches that are too
// small, one of them attached to another, and one in memory.
func openAll(dir string) ([]*database, error) {
	settings := []struct{ path, pragmas string }{
		{file(dir, "full.db"), "page_size=4096;auto_vacuum=FULL;cache_size=20;cache_spill=10"},
		{file(dir, "wal.db"), "page_size=1024;auto_vacuum=INCREMENTAL;journal_mode=WAL;cache_size=15;cache_spill=12"},
		{file(dir, "small.db"), "page_size=512;journal_mode=TRUNCATE;cache_size=10;temp_store=MEMORY"},
		{":memory:", "page_size=2048;auto_vacuum=FULL;cache_size=10"},
	}
	var all []*database
	for i, s := range settings {
		var statements []string
		for pragma := range strings.SplitSeq(s.pragmas, ";") {
			statements = append(statements, "PRAGMA "+pragma)
		}
		statements = append(statements, "PRAGMA synchronous=OFF")
		if i == 0 {
			statements = append(statements, "ATTACH '"+file(dir, "attached.db")+"' AS other", "CREATE TABLE other.v(x, y)")
		}
		db, err := open(s.path, append(statements, schema...)...)
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		all = append(all, db)
	}
	return all, nil
}

func closeAll(all []*database) error {
	var errs []error
	for _, db := range all {
		errs = append(errs, db.close())
	}
	return errors.Join(errs...)
}

// statement makes up a statement. Some are errors, depending on what came
// before; that is part of the workload.
func statement(r *rand.Rand, first bool) string {
	a, n := r.IntN(3000), 1+r.IntN(400)
	wide := 1 + r.IntN(1+r.IntN(3000))
	all := []string{
		"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "COMMIT", "ROLLBACK",
		fmt.Sprintf("SAVEPOINT s%d", r.IntN(3)), fmt.Sprintf("RELEASE s%d", r.IntN(3)), fmt.Sprintf("ROLLBACK TO s%d", r.IntN(3)),
		"SELECT count(*), sum(k), sum(length(b)), min(s), max(s) FROM t",
		fmt.Sprintf("SELECT id, k, substr(s, 1, 20), length(b) FROM t WHERE k BETWEEN %d AND %d ORDER BY s, id LIMIT 50", a, a+n),
		"SELECT k % 7, count(*), max(s) FROM t GROUP BY 1 ORDER BY 1",
		fmt.Sprintf("SELECT count(*), sum(x.b) FROM u x JOIN t ON t.k = x.b WHERE x.b > %d", a),
		"SELECT s, hex(b) FROM t ORDER BY b DESC, id LIMIT 3",
		fmt.Sprintf("DELETE FROM t WHERE id %% 3 = %d", r.IntN(3)), fmt.Sprintf("DELETE FROM u WHERE b < %d", a/3),
		fmt.Sprintf("UPDATE t SET b = zeroblob(%d), k = k + 1 WHERE k BETWEEN %d AND %d", wide, a, a+n),
		fmt.Sprintf("UPDATE OR IGNORE u SET a = a || 'x' WHERE b > %d", a),
		"PRAGMA shrink_memory", "PRAGMA integrity_check", "PRAGMA freelist_count", "PRAGMA page_count",
		fmt.Sprintf("PRAGMA incremental_vacuum(%d)", r.IntN(20)), fmt.Sprintf("PRAGMA cache_size=%d", 5+r.IntN(30)),
		"VACUUM", "REINDEX", "CREATE INDEX ts ON t(s)", "DROP INDEX ts",
		"CREATE TEMP TABLE IF NOT EXISTS w AS SELECT * FROM t", "DROP TABLE w",
		"CREATE TABLE z AS SELECT k, count(*) FROM t GROUP BY k", "DROP TABLE z",
	}
	if first {
		all = append(all, fmt.Sprintf("INSERT INTO other.v SELECT id, s FROM t WHERE id < %d", a), "DELETE FROM other.v")
	}
	if r.IntN(3) > 0 {
		return fmt.Sprintf("WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM c LIMIT %d) ", a, n) + []string{
			fmt.Sprintf("INSERT INTO t(k, s, b) SELECT (i * 7919) %% 3001, printf('%%0*d', 1 + i %% %d, i), zeroblob(i * i %% %d) FROM c", wide, wide),
			"INSERT OR REPLACE INTO u SELECT printf('%x', i * 2654435761), i FROM c",
		}[r.IntN(2)]
	}
	return all[r.IntN(len(all))]
}

// workload runs random statements over several databases and writes what they
// give, errors included.
func workload(dir string, seed uint64, statements int, w io.Writer) (err error) {
	all, err := openAll(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(all)) }()
	r := rand.New(rand.NewPCG(seed, 11))
	for range statements {
		i := r.IntN(len(all))
		s := statement(r, i == 0)
		err := all[i].query(w, s)
		if _, err := fmt.Fprintln(w, i, s, err); err != nil {
			return err
		}
	}
	for i, db := range all {
		_ = db.query(w, "COMMIT") // an error if there is no transaction
		for _, s := range []string{"SELECT id, k, s, length(b) FROM t ORDER BY id", "SELECT * FROM u ORDER BY a"} {
			if err := db.query(w, s); err != nil {
				return err
			}
		}
		if ok, err := db.one("PRAGMA integrity_check"); err != nil || ok != "ok" {
			return fmt.Errorf("integrity check of database %d: %s, %w", i, ok, err)
		}
	}
	return nil
}

// printWorkload prints a digest of what a workload gave, and of each file that
// it left.
func printWorkload(dir string, seed uint64) error {
	sum := sha256.New()
	if err := workload(dir, seed, 600, sum); err != nil {
		return err
	}
	fmt.Printf("results %x\n", sum.Sum(nil))
	files, err := filepath.Glob(file(dir, "*"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		fmt.Printf("%s %d %x\n", filepath.Base(f), len(data), sha256.Sum256(data))
	}
	return nil
}
