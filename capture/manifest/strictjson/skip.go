package strictjson

import (
	"math"
	"strconv"
)

// Skip reads one value of any kind and drops it. The value is held to the
// same rules as everything else; a number beyond the range of a float64 is an
// error.
func (r *Reader) Skip() error {
	switch c := r.Peek(); {
	case c == '{':
		return r.Object(func([]byte) error { return r.Skip() })
	case c == '[':
		return r.Array(r.Skip)
	case c == '"':
		_, err := r.Text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return r.skipNumber()
	case r.Literal("true"), r.Literal("false"), r.Literal("null"):
		return nil
	}
	return r.Errorf("expected a value")
}

func (r *Reader) skipNumber() error {
	start := r.pos
	r.Literal("-")
	if !r.Literal("0") && r.digits() == 0 {
		return r.Errorf("malformed number")
	}
	if r.Literal(".") && r.digits() == 0 {
		return r.Errorf("malformed fraction")
	}
	if r.Literal("e") || r.Literal("E") {
		_ = r.Literal("+") || r.Literal("-")
		if r.digits() == 0 {
			return r.Errorf("malformed exponent")
		}
	}
	f, err := strconv.ParseFloat(string(r.data[start:r.pos]), 64)
	if err != nil || math.IsInf(f, 0) {
		return r.Errorf("number out of range")
	}
	return nil
}

// digits consumes decimal digits and returns how many there were.
func (r *Reader) digits() int {
	start := r.pos
	for r.pos < len(r.data) && r.data[r.pos]-'0' <= 9 {
		r.pos++
	}
	return r.pos - start
}
