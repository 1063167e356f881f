package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	logDir   = "log"
	indexDir = "index"
)

func logName(g uint64) string   { return fmt.Sprintf("%s/%016x.log", logDir, g) }
func newName(g uint64) string   { return fmt.Sprintf("%s/%016x.new", logDir, g) }
func indexName(g uint64) string { return fmt.Sprintf("%s/%016x.idx", indexDir, g) }

// numbered returns the number in a name of 16 lower-case hex digits and suffix.
func numbered(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	g, err := strconv.ParseUint(digits, 16, 64)
	return g, err == nil && g != 0 && g <= maxOffset
}

// list returns the numbers of dir's files with that suffix, in order. A
// directory that is not there has none.
func list(f vfs.FS, dir, suffix string) ([]uint64, error) {
	all, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: list %s: %w", dir, err)
	}
	var gs []uint64
	for _, i := range all {
		if g, ok := numbered(i.Name, suffix); ok && i.Regular {
			gs = append(gs, g)
		}
	}
	slices.Sort(gs)
	return gs, nil
}

// newest is the number of the newest generation, 0: there is none.
func newest(f vfs.FS) (uint64, error) { return newestAfter(f, 0) }

// newestAfter is the number of the newest generation, which is expected to be
// above another. A list of names may lack one that is made meanwhile although
// another is gone that was removed after that: the next list has it.
func newestAfter(f vfs.FS, above uint64) (n uint64, err error) {
	for try := 0; try < 3 && n <= above; try++ {
		gs, err := list(f, logDir, ".log")
		if err != nil {
			return 0, err
		}
		if len(gs) > 0 {
			n = gs[len(gs)-1]
		}
	}
	return n, nil
}

// StoreIDs returns the ids of the stores that the log files say they belong to,
// those of the newest last. Files whose header cannot be read have none.
func StoreIDs(f vfs.FS) ([][16]byte, error) {
	gs, err := list(f, logDir, ".log")
	if err != nil {
		return nil, err
	}
	var ids [][16]byte
	for _, n := range gs {
		file, err := f.Open(logName(n), vfs.ReadOnly)
		if err != nil {
			continue // it was replaced just now, or tells nothing
		}
		g := &generation{f: file}
		if err := g.readHeader(nil, n); err == nil {
			ids = append(ids, g.header.id)
		}
		_ = file.Close() // it was only read
	}
	return ids, nil
}

// generation is an open log file.
type generation struct {
	header
	f      vfs.File
	id     uint64 // of the file
	word   *vfs.Word
	faults []error
	rotten bool // a copy of the header is bad
}

// openGeneration opens a log file. A header that is damaged in both copies is
// an error, unless lenient: then it is made up from what else is there.
func openGeneration(o *Options, number uint64, lenient bool) (*generation, error) {
	mode := vfs.ReadWrite
	if o.ReadOnly {
		mode = vfs.ReadOnly
	}
	f, err := o.FS.Open(logName(number), mode)
	if err != nil {
		return nil, fmt.Errorf("journal: open log: %w", err)
	}
	g := &generation{f: f}
	if err := g.load(o, number, lenient); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return g, nil
}

func (g *generation) load(o *Options, number uint64, lenient bool) error {
	info, err := g.f.Stat()
	if err != nil {
		return fmt.Errorf("journal: open log: %w", err)
	}
	g.id = info.ID
	if err := g.readHeader(o, number); err != nil {
		if !lenient || !errors.Is(err, kvferry.ErrCorrupt) {
			return fmt.Errorf("journal: log %016x: %w", number, err)
		}
		g.faults = append(g.faults, fmt.Errorf("journal: log %016x: %w", number, err))
		if err := g.guess(o, number); err != nil {
			return err
		}
	}
	if info.Size < wordsAt+wordsBytes {
		err := fmt.Errorf("journal: %w: log %016x is cut off", kvferry.ErrCorrupt, number)
		if lenient { // no word to watch: Follow reads it, and finds none
			g.faults, g.rotten = append(g.faults, err), true
			return nil
		}
		return err
	}
	if g.word, err = g.f.Watch(wordsAt); err != nil {
		return fmt.Errorf("journal: watch log %016x: %w", number, err)
	}
	return nil
}

// readHeader takes the first copy of the header that is sound. Without options
// it may be that of any store.
func (g *generation) readHeader(o *Options, number uint64) error {
	var b [headerCopy + headerBytes]byte
	// Of a file that is too short the rest is zeros.
	if err := readFull(g.f, b[:], 0); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	h, err := decodeHeader(b[:headerBytes])
	other, oerr := decodeHeader(b[headerCopy:])
	g.rotten = err != nil || oerr != nil || h != other
	if errors.Is(err, kvferry.ErrCorrupt) && oerr == nil {
		h, err = other, nil
	}
	switch {
	case err != nil:
		return err
	case h.generation != number:
		return fmt.Errorf("%w: says that it is log %016x", kvferry.ErrCorrupt, h.generation)
	case o != nil && h.id != o.StoreID:
		return fmt.Errorf("%w: it says that it belongs to store %x, which this one is not: run check --repair", kvferry.ErrCorrupt, h.id)
	}
	g.header = h
	return nil
}

// guess makes up the header that a log must have had: it starts from the newest
// checkpoint that is not newer. If the right one was older, then transactions
// are applied again, which changes nothing.
func (g *generation) guess(o *Options, number uint64) error {
	bases, err := list(o.FS, indexDir, ".idx")
	if err != nil {
		return err
	}
	g.rotten = true
	g.header = header{generation: number, first: 1, id: o.StoreID}
	for _, b := range bases {
		if b <= number {
			g.base = b
		}
	}
	var b [txHeader]byte
	if err := readFull(g.f, b[:], firstTx); err == nil {
		if t, err := decodeTx(b[:], g.salt()); err == nil && t.flags&void == 0 && t.seq > 0 {
			g.first = t.seq
		}
	}
	return nil
}

// watched is the word that changes with every commit.
func (g *generation) watched() uint64 {
	if g.word == nil {
		return vfs.Unreadable
	}
	return g.word.Load()
}

func (g *generation) writeWords(w words) error {
	if _, err := g.f.WriteAt(w.encode(), wordsAt); err != nil {
		return fmt.Errorf("journal: log %016x: %w", g.generation, err)
	}
	return nil
}

// named tells whether the name of the generation still leads to this file.
func (g *generation) named(f vfs.FS) (info vfs.Info, ok bool, err error) {
	info, err = f.Stat(logName(g.generation))
	if errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	if err != nil {
		return info, false, fmt.Errorf("journal: %w", err)
	}
	return info, info.Regular && info.ID == g.id, nil
}

// tidyUp removes what older generations left. That is only room: what cannot be
// removed now is removed by the next one.
func tidyUp(ctx context.Context, f vfs.FS, h header) {
	remove := func(dir, suffix string, name func(uint64) string, below uint64) {
		gs, err := list(f, dir, suffix)
		for _, g := range gs {
			if err == nil && g < below && ctx.Err() == nil {
				_ = f.Remove(name(g))
			}
		}
	}
	remove(logDir, ".log", logName, h.generation)
	remove(logDir, ".new", newName, ^uint64(0))
	remove(indexDir, ".idx", indexName, h.base)
}
