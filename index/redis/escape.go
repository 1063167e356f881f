package redis

import "strings"

const (
	// mark ends every entry of a block. It stands in none of them, so that scripts
	// find an entry by looking for its bytes.
	mark = 0xff
	// escape stands before what replaces one of these two bytes.
	escape       = 0xfe
	escapeEscape = 1
	escapeMark   = 2
)

// appendEscaped appends s as an entry has it.
func appendEscaped[S string | []byte](dst []byte, s S) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case mark:
			dst = append(dst, escape, escapeMark)
		case escape:
			dst = append(dst, escape, escapeEscape)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// escaped returns s as entries and names of fields have it.
func escaped(s string) string {
	if strings.IndexByte(s, mark) < 0 && strings.IndexByte(s, escape) < 0 {
		return s
	}
	return string(appendEscaped(make([]byte, 0, len(s)+8), s))
}

// escapedAll returns strings as escaped does.
func escapedAll(list []string) []string {
	for i, s := range list {
		e := escaped(s)
		if len(e) == len(s) {
			continue
		}
		out := append(make([]string, 0, len(list)), list[:i]...)
		for _, s := range list[i:] {
			out = append(out, escaped(s))
		}
		return out
	}
	return list
}

// unescape reads an entry.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, mark) >= 0 {
		return "", corrupt("read", "entry with a mark")
	}
	i := strings.IndexByte(s, escape)
	if i < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for ; i >= 0; i = strings.IndexByte(s, escape) {
		b = append(b, s[:i]...)
		switch {
		case i+1 < len(s) && s[i+1] == escapeEscape:
			b = append(b, escape)
		case i+1 < len(s) && s[i+1] == escapeMark:
			b = append(b, mark)
		default:
			return "", corrupt("read", "escape")
		}
		s = s[i+2:]
	}
	return string(append(b, s...)), nil
}
