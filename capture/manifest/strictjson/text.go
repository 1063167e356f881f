package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string.
func (r *Reader) String() (string, error) {
	b, err := r.Text()
	return string(b), err
}

// Text reads a string and returns its bytes, which are valid only until the
// next call of a method. Invalid UTF-8, lone surrogates and control characters
// that are not escaped are errors.
func (r *Reader) Text() ([]byte, error) {
	if r.Peek() != '"' {
		return nil, r.Errorf("expected a string")
	}
	r.pos++
	start, ascii := r.pos, true
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; {
		case c == '"':
			b := r.data[start:r.pos]
			if !ascii && !utf8.Valid(b) {
				return nil, r.Errorf("string is not UTF-8")
			}
			r.pos++
			return b, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return nil, r.Errorf("control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
		r.pos++
	}
	return nil, r.Errorf("string without an end")
}

// escaped reads the rest of a string that began at start and whose first
// escape is here.
func (r *Reader) escaped(start int) ([]byte, error) {
	out := append(r.scratch[:0], r.data[start:r.pos]...)
	for r.pos < len(r.data) {
		c := r.data[r.pos]
		r.pos++
		switch {
		case c == '"':
			r.scratch = out
			if !utf8.Valid(out) {
				return nil, r.Errorf("string is not UTF-8")
			}
			return out, nil
		case c < ' ':
			return nil, r.Errorf("control character in a string")
		case c != '\\':
			out = append(out, c)
		default:
			var err error
			if out, err = r.escape(out); err != nil {
				return nil, err
			}
		}
	}
	return nil, r.Errorf("string without an end")
}

// escape appends what the escape after a backslash stands for.
func (r *Reader) escape(out []byte) ([]byte, error) {
	if r.pos >= len(r.data) {
		return nil, r.Errorf("string without an end")
	}
	c := r.data[r.pos]
	r.pos++
	switch c {
	case '"', '\\', '/':
		return append(out, c), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
		return r.unicode(out)
	}
	return nil, r.Errorf("unknown escape")
}

// unicode appends the code point whose four digits, or whose two surrogates,
// come next.
func (r *Reader) unicode(out []byte) ([]byte, error) {
	hi, err := r.hex4()
	if err != nil {
		return nil, err
	}
	if !utf16.IsSurrogate(hi) {
		return utf8.AppendRune(out, hi), nil
	}
	if !r.Literal(`\u`) {
		return nil, r.Errorf("lone surrogate")
	}
	lo, err := r.hex4()
	if err != nil {
		return nil, err
	}
	c := utf16.DecodeRune(hi, lo)
	if c == utf8.RuneError {
		return nil, r.Errorf("lone surrogate")
	}
	return utf8.AppendRune(out, c), nil
}

func (r *Reader) hex4() (rune, error) {
	if r.Rest() < 4 {
		return 0, r.Errorf("escape without four digits")
	}
	v := rune(0)
	for _, c := range r.data[r.pos : r.pos+4] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, r.Errorf("escape without four hexadecimal digits")
		}
		v = v<<4 | rune(d)
	}
	r.pos += 4
	return v, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// AppendString appends s as a JSON string: '"' and '\' behind a backslash,
// control characters as \b \t \n \f \r or \u00xx with lower-case digits,
// everything else as it is. s must be valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		}
	}
	return append(dst, '"')
}
