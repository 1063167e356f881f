package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// journal is the file that rows are appended to, by several processes one after
// the other. A line is written by one call, so that a process which is killed
// leaves whole lines, or one cut line at the end.
type journal struct{ path string }

func journalIn(dir string) journal { return journal{filepath.Join(dir, "rows.jsonl")} }

// begin drops the rows of an earlier run.
func (j journal) begin() error {
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// add appends a row.
func (j journal) add(r *row) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("row %q: %w", r.What, err)
	}
	f, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if torn(f) {
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// torn reports whether the last line has no end.
func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// rows reads what there is. A line that was cut is left out.
func (j journal) rows() ([]*row, error) {
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*row
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		r := &row{}
		if json.Unmarshal(lines.Bytes(), r) == nil {
			out = append(out, r)
		}
	}
	return out, lines.Err()
}
