package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/index"
)

// exportReport is the JSON document of index export into a file.
type exportReport struct {
	File    string `json:"file"`
	Records int    `json:"records"`
	Stale   uint64 `json:"stale"` // records that nobody sees, which are not in the file
	Seq     uint64 `json:"seq"`   // of the newest change that is in it for sure
}

func (x *indexing) exportCommand() *cobra.Command {
	var s scopeFlags
	c := &cobra.Command{
		Use:   "export [FILE] [--model M --tokenizer T --tenant X]",
		Short: "Write all records, or those of one scope, as JSON lines",
		Long: `Export writes the live records into FILE, which appears when it is whole, or to
standard output: one a line, in the order of their keys, in QuillCache's JSON. What is
no UTF-8 is there, too (base64).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var only *index.Scope
			if s.named() {
				scope, err := s.get()
				if err != nil {
					return err
				}
				only = &scope
			}
			return x.withIndex(c.Context(), false, func(i index.Index, _ indexURL) error {
				if len(args) == 0 {
					_, _, err := exportTo(c.Context(), x.out, i, only)
					return err
				}
				out, err := exportFile(c.Context(), args[0], i, only)
				if err != nil {
					return fmt.Errorf("export: %w", err)
				}
				return x.print(out, out.write)
			})
		},
	}
	s.add(c.Flags())
	return c
}

// exportTo writes the records of an index, or of one scope.
func exportTo(ctx context.Context, w io.Writer, x index.Index, only *index.Scope) (n int, seq uint64, err error) {
	rules := x.Info().Rules // by which there may be two names for one scope
	out := bufio.NewWriterSize(w, 1<<18)
	var line []byte
	seq, err = x.Snapshot(ctx, func(r *index.Record) error {
		if only != nil && rules.Scope(r.Scope) != rules.Scope(*only) {
			return nil
		}
		n++
		line = append(r.AppendJSON(line[:0]), '\n')
		_, err := out.Write(line)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	return n, seq, err
}

// exportFile writes into a file beside and renames it.
func exportFile(ctx context.Context, path string, x index.Index, only *index.Scope) (out exportReport, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return out, err
	}
	defer func() {
		if err != nil && out.File == "" { // not renamed
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, seq, err := exportTo(ctx, f, x, only)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return out, err
	}
	m, err := x.Metrics(ctx)
	if err != nil {
		return out, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return out, err
	}
	out = exportReport{path, n, m.StaleBlocks, seq}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return out, fmt.Errorf("%s is there, but may be gone after a power failure: %w", path, err)
	}
	return out, nil
}

// syncDir makes the names in a directory durable, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (r exportReport) write(w io.Writer) error {
	stale := ""
	if r.Stale > 0 {
		stale = fmt.Sprintf("; %s of workers that have not announced themselves were left out", countOf(r.Stale, "stale record", "stale records"))
	}
	_, err := fmt.Fprintf(w, "%s in %s, up to change %d%s\n", count(r.Records, "record"), r.File, r.Seq, stale)
	return err
}
