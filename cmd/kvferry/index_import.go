package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// How many records are put at a time, how long a line may be, and how many damaged
// ones are told one by one.
const (
	importBatch        = 1024
	importLineBytes    = 64 << 20
	importDamageListed = 100
)

// importReport is the JSON document of index import.
type importReport struct {
	Imported int          `json:"imported"`
	Damaged  int          `json:"damaged"`
	Lines    []lineDamage `json:"lines"` // the first of the damaged ones
}

// lineDamage is why a line was not imported.
type lineDamage struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

func (x *indexing) importCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "import [FILE] [--strict]",
		Short: "Put records from a file of JSON lines",
		Long: `Import puts records from FILE, or standard input: one a line, in the JSON that export
writes and QuillCache keeps. Empty lines are skipped.

Lines that are no record are told with their number, all others are imported, and the
exit code is 3. Nobody is announced: in a directory volatile records are stale when it is
opened again, and on Redis workers that have no lease stay until they are removed.
With --strict all lines are read before the first record is put, and
nothing is imported if one is damaged.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			in, err := x.importFrom(args, strict)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, in.close()) }()
			if strict {
				if err := x.rehearse(c.Context(), in); err != nil {
					return err
				}
			}
			return x.withIndex(c.Context(), true, func(i index.Index, _ indexURL) error {
				out, err := importLines(c.Context(), in.r, i.Put)
				if err == nil {
					err = x.flush(c.Context(), i)
				}
				if err != nil {
					return fmt.Errorf("import: stopped behind %s: %w", count(out.Imported, "record"), err)
				}
				return errors.Join(x.print(out, out.write), out.err(" and were not imported"))
			})
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "import nothing if any line is damaged")
	return c
}

// rehearse reads all lines and wants no damage.
func (x *indexing) rehearse(ctx context.Context, in *importing) error {
	out, err := importLines(ctx, in.r, func(context.Context, []index.Record) error { return nil })
	if err != nil {
		return err
	}
	if out.Damaged > 0 {
		out.Imported = 0
		return errors.Join(x.print(out, out.write), out.err("; nothing was imported"))
	}
	return in.rewind()
}

// err is damage, if there is some.
func (r *importReport) err(then string) error {
	if r.Damaged == 0 {
		return nil
	}
	first := r.Lines[0]
	return fmt.Errorf("import: %s damaged%s; the first is line %d: %s: %w", countOf(uint64(r.Damaged), "line is", "lines are"), then, first.Line, first.Error, kvferry.ErrCorrupt)
}

func (r importReport) write(w io.Writer) error {
	for _, l := range r.Lines {
		if _, err := fmt.Fprintf(w, "line %d: %s\n", l.Line, l.Error); err != nil {
			return err
		}
	}
	if more := r.Damaged - len(r.Lines); more > 0 {
		if _, err := fmt.Fprintf(w, "and %s more\n", count(more, "damaged line")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s imported\n", count(r.Imported, "record"))
	return err
}

// importing is what lines are read from.
type importing struct {
	r     io.Reader
	file  *os.File // to begin again, and to close
	spool bool     // file is ours to remove
}

// importFrom opens a file, or standard input, which for a second reading is copied
// into a file.
func (x *indexing) importFrom(args []string, twice bool) (*importing, error) {
	if len(args) > 0 {
		f, err := os.Open(args[0])
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("import: %w: %w", err, kvferry.ErrNotFound)
		}
		return &importing{r: f, file: f}, err
	}
	if !twice {
		return &importing{r: x.in}, nil
	}
	f, err := os.CreateTemp("", "kvferry-import-")
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	in := &importing{r: f, file: f, spool: true}
	_, err = io.Copy(f, x.in)
	if err == nil {
		err = in.rewind()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("import: copying standard input: %w", err), in.close())
	}
	return in, nil
}

func (in *importing) rewind() error {
	_, err := in.file.Seek(0, io.SeekStart)
	return err
}

func (in *importing) close() error {
	if in.file == nil {
		return nil
	}
	err := in.file.Close()
	if in.spool {
		err = errors.Join(err, os.Remove(in.file.Name()))
	}
	return err
}

// importLines reads records and puts them, some at a time.
func importLines(ctx context.Context, r io.Reader, put func(context.Context, []index.Record) error) (out importReport, err error) {
	out.Lines = []lineDamage{}
	in := bufio.NewReaderSize(r, 1<<20)
	batch := make([]index.Record, 0, importBatch)
	flush := func() error {
		if err := put(ctx, batch); err != nil {
			return err
		}
		out.Imported += len(batch)
		batch = batch[:0]
		return nil
	}
	for n := 1; ; n++ {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) {
			break
		}
		var long *longLineError
		if err != nil && !errors.As(err, &long) {
			return out, fmt.Errorf("line %d: %w", n, err)
		}
		if err == nil {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			var rec index.Record
			if rec, err = index.ParseRecord(line); err == nil {
				err = rec.Check()
			}
			batch = append(batch, rec)
		}
		if err != nil {
			if long == nil {
				batch = batch[:len(batch)-1]
			}
			out.damaged(n, err)
		}
		if len(batch) == importBatch {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	if len(batch) > 0 {
		err = flush()
	}
	return out, err
}

func (r *importReport) damaged(line int, err error) {
	if r.Damaged++; len(r.Lines) < importDamageListed {
		r.Lines = append(r.Lines, lineDamage{line, err.Error()})
	}
}

// longLineError is a line that no record has.
type longLineError struct{ bytes int }

func (l *longLineError) Error() string {
	return fmt.Sprintf("a line of %d bytes, at most %d", l.bytes, importLineBytes)
}

// readLine returns the next line, with or without its end; io.EOF behind the last.
// Of one that is too long it reads all and holds little.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for length := 0; ; {
		part, err := in.ReadSlice('\n')
		if length += len(part); length <= importLineBytes {
			line = append(line, part...)
		} else {
			line = nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || length == 0):
			return nil, err
		case length > importLineBytes:
			return nil, &longLineError{length}
		}
		return line, nil
	}
}
