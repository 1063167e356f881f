// Package strictjson reads JSON of a known shape without any of the liberties
// that general decoders take: keys match exactly, whole numbers are plain
// decimal digits, text is valid UTF-8 without lone surrogates, nesting is
// bounded and nothing may follow the document. It writes strings in the form
// that ProcessFork's digests are made of.
//
// The reader works on one byte slice and allocates only the strings it
// returns. Repeated and missing keys are for the caller to see, since only it
// knows its keys. Every error of the package wraps kvferry.ErrCorrupt and
// names the offset.
package strictjson

import (
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
)

// MaxDepth is the greatest number of objects and arrays inside one another.
const MaxDepth = 127

// Reader reads one document from front to back. It is not safe for concurrent
// use.
type Reader struct {
	data    []byte
	pos     int
	depth   int
	scratch []byte // holds the latest text that had escapes
}

// NewReader returns a reader of data, which it neither changes nor copies.
func NewReader(data []byte) *Reader { return &Reader{data: data} }

// Errorf returns an ErrCorrupt with the given text and the current offset.
func (r *Reader) Errorf(format string, args ...any) error {
	return fmt.Errorf("json: offset %d: %s: %w", r.pos, fmt.Sprintf(format, args...), kvferry.ErrCorrupt)
}

// Rest returns the number of bytes that are not read yet.
func (r *Reader) Rest() int { return len(r.data) - r.pos }

// Literal consumes the bytes of s if they come next, without skipping white
// space, and reports whether they did.
func (r *Reader) Literal(s string) bool {
	if len(r.data)-r.pos < len(s) || string(r.data[r.pos:r.pos+len(s)]) != s {
		return false
	}
	r.pos += len(s)
	return true
}

// Peek skips white space and returns the byte that comes next; 0 at the end.
func (r *Reader) Peek() byte {
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

// End returns an error unless only white space is left.
func (r *Reader) End() error {
	if r.Peek(); r.pos != len(r.data) {
		return r.Errorf("%d bytes after the end of the document", r.Rest())
	}
	return nil
}

// Object reads an object and calls member after each key, to read the value.
// The key is valid only until the next call of a method.
func (r *Reader) Object(member func(key []byte) error) error {
	return r.each('{', '}', "an object", func() error {
		key, err := r.Text()
		if err != nil {
			return err
		}
		if r.Peek() != ':' {
			return r.Errorf("expected ':' after a key")
		}
		r.pos++
		return member(key)
	})
}

// Array reads an array and calls element where each element begins.
func (r *Reader) Array(element func() error) error {
	return r.each('[', ']', "an array", element)
}

func (r *Reader) each(first, last byte, what string, item func() error) error {
	if r.Peek() != first {
		return r.Errorf("expected %s", what)
	}
	if r.depth++; r.depth > MaxDepth {
		return r.Errorf("nesting deeper than %d", MaxDepth)
	}
	r.pos++
	if r.Peek() != last {
		for {
			if err := item(); err != nil {
				return err
			}
			if c := r.Peek(); c == last {
				break
			} else if c != ',' {
				return r.Errorf("expected ',' or %q", last)
			}
			r.pos++
		}
	}
	r.pos++
	r.depth--
	return nil
}

// Uint32 reads a whole number of plain decimal digits from 0 to 2^32-1. A
// sign, fraction, exponent or leading zero is an error.
func (r *Reader) Uint32() (uint32, error) {
	v, n, err := r.whole(10)
	switch {
	case err != nil:
		return 0, err
	case v > math.MaxUint32:
		return 0, r.Errorf("number %d beyond 32 bits", v)
	}
	return uint32(v), r.plain(n)
}

// Uint64 reads a whole number as Uint32 does, from 0 to 2^64-1.
func (r *Reader) Uint64() (uint64, error) {
	v, n, err := r.whole(20)
	if err != nil {
		return 0, err
	}
	return v, r.plain(n)
}

// whole returns the number of at most maxDigits digits that comes next, and how
// many digits it has, without consuming them.
func (r *Reader) whole(maxDigits int) (v uint64, n int, err error) {
	r.Peek()
	for r.pos+n < len(r.data) {
		c := r.data[r.pos+n] - '0'
		if c > 9 {
			break
		}
		if n++; n > maxDigits || v > (math.MaxUint64-uint64(c))/10 {
			return 0, 0, r.Errorf("number beyond %d bits", map[int]int{10: 32, 20: 64}[maxDigits])
		}
		v = v*10 + uint64(c)
	}
	switch {
	case n == 0:
		return 0, 0, r.Errorf("expected a whole number")
	case n > 1 && r.data[r.pos] == '0':
		return 0, 0, r.Errorf("number with a leading zero")
	}
	return v, n, nil
}

// plain consumes n digits, behind which no fraction or exponent may come.
func (r *Reader) plain(n int) error {
	r.pos += n
	if r.pos < len(r.data) {
		switch r.data[r.pos] {
		case '.', 'e', 'E':
			return r.Errorf("expected a whole number in plain digits")
		}
	}
	return nil
}
