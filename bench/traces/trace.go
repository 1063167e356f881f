// Package traces measures caches on the references that conversations make to
// the blocks of their prompts: which share of them a cache of some size serves,
// beside the optimum, and what a reference costs.
//
// A trace is a file of lines of JSON, gzipped or not, as Mooncake published
// them; other keys are not read:
//
//	{"timestamp": 27482, "hash_ids": [46, 47, 48]}
//
// timestamp is in milliseconds. A hash_id stands for a block and all before it,
// so equal ids are blocks whose contents can be used again.
//
// A cache is played a trace by asking it for each block in turn and putting the
// blocks that it does not have. Two shares of hits are told: of all references,
// and of those before the first block of a request that is missing, which is all
// that an engine can use.
package traces

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kvferry/kvferry"
)

// BuiltIn is the trace that comes with the source, seen from its root. The
// program does not contain it.
const BuiltIn = "bench/traces/testdata/mooncake-conversation.jsonl.gz"

// mostRefs bounds the references of a trace, mostLine the bytes of a request.
const (
	mostRefs = 1 << 24
	mostLine = 1 << 22
)

// Trace is what a number of requests refer to, in their order.
type Trace struct {
	Name string
	// Refs are the ids of all blocks, request behind request.
	Refs []uint64
	// Ends are the requests' ends in Refs, each behind the one before.
	Ends []int
}

// Requests yields the blocks of each request.
func (t *Trace) Requests(yield func([]uint64) bool) {
	start := 0
	for _, end := range t.Ends {
		if !yield(t.Refs[start:end]) {
			return
		}
		start = end
	}
}

// add appends a request.
func (t *Trace) add(blocks []uint64) {
	t.Refs = append(t.Refs, blocks...)
	t.Ends = append(t.Ends, len(t.Refs))
}

// Load reads the trace in a file. One that is missing is ErrNotFound, one that
// is no trace ErrInvalid.
func Load(path string) (*Trace, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("traces: %w: %w", kvferry.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	t, err := Read(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("traces: %s: %w", path, err)
	}
	t.Name, _, _ = strings.Cut(filepath.Base(path), ".")
	return t, nil
}

// Read reads a trace, which has no name then.
func Read(r io.Reader) (*Trace, error) {
	in := bufio.NewReader(r)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", kvferry.ErrInvalid, err)
		}
		in = bufio.NewReader(z)
	}
	t := &Trace{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, mostLine)
	for n := 1; lines.Scan(); n++ {
		if err := t.line(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", kvferry.ErrInvalid, err)
	}
	if len(t.Refs) == 0 {
		return nil, fmt.Errorf("no request refers to a block: %w", kvferry.ErrInvalid)
	}
	return t, nil
}

// line adds the request of a line.
func (t *Trace) line(text []byte) error {
	var request struct {
		Blocks *[]uint64 `json:"hash_ids"`
	}
	if err := json.Unmarshal(text, &request); err != nil {
		return fmt.Errorf("%w: %w", kvferry.ErrInvalid, err)
	}
	if request.Blocks == nil {
		return fmt.Errorf("it has no hash_ids: %w", kvferry.ErrInvalid)
	}
	if len(*request.Blocks) > mostRefs-len(t.Refs) {
		return fmt.Errorf("more than %d references: %w", mostRefs, kvferry.ErrInvalid)
	}
	t.add(*request.Blocks)
	return nil
}

// Shape describes a trace.
type Shape struct {
	Requests, Refs, Blocks int
	// Again is the share of the references that are not the first to their
	// block: what a cache without bound serves.
	Again float64
	// Distance is the median number of references between two to one block.
	Distance int
}

// Shape counts.
func (t *Trace) Shape() Shape {
	s := Shape{Requests: len(t.Ends), Refs: len(t.Refs)}
	last := make(map[uint64]int)
	var gaps []int
	for i, b := range t.Refs {
		if at, ok := last[b]; ok {
			gaps = append(gaps, i-at)
		}
		last[b] = i
	}
	s.Blocks = len(last)
	s.Again = float64(len(gaps)) / float64(max(1, s.Refs))
	s.Distance = middle(gaps)
	return s
}
