package processfork

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Timestamp is a point in time as image manifests state it: in UTC, with
// nanoseconds, and with leap seconds kept.
type Timestamp struct {
	// Time in UTC. In a leap second it is in the second before.
	Time time.Time
	// Leap reports that the seconds were written as 60.
	Leap bool
}

// The years that ProcessFork can state.
const (
	minYear = -262143
	maxYear = 262142
)

// Append appends the canonical text of t: RFC 3339 with Z and with 0, 3, 6 or
// 9 digits of a second, the fewest that are exact; a year beyond four digits
// or before 0 has a sign. Years that ProcessFork cannot state are ErrInvalid.
func (t Timestamp) Append(dst []byte) ([]byte, error) {
	u := t.Time.UTC()
	year, month, day := u.Date()
	hour, minute, second := u.Clock()
	if year < minYear || year > maxYear || t.Leap && second != 59 {
		return dst, invalid("image: time %v cannot be written", u)
	}
	if t.Leap {
		second = 60
	}
	form := "%04d"
	if year < 0 || year > 9999 {
		form = "%+05d"
	}
	dst = fmt.Appendf(dst, form+"-%02d-%02dT%02d:%02d:%02d", year, month, day, hour, minute, second)
	switch n := u.Nanosecond(); {
	case n == 0:
	case n%1e6 == 0:
		dst = fmt.Appendf(dst, ".%03d", n/1e6)
	case n%1e3 == 0:
		dst = fmt.Appendf(dst, ".%06d", n/1e3)
	default:
		dst = fmt.Appendf(dst, ".%09d", n)
	}
	return append(dst, 'Z'), nil
}

// ParseTimestamp reads a time with the original's liberties: 'T', 't' or a
// space before the hour; numbers without leading zeros and with white space in
// front; years with a sign; any number of fraction digits, of which nine
// count; second 60; and Z, z, UTC, +02:00 or +0200 as the offset, perhaps
// behind white space. Everything else is ErrInvalid.
func ParseTimestamp(s string) (Timestamp, error) {
	p := timeParser{rest: s}
	year := p.year()
	p.literal("-")
	month := p.number(2)
	p.literal("-")
	day := p.number(2)
	if p.rest == "" || !strings.ContainsRune("Tt ", rune(p.rest[0])) {
		p.bad = true
	} else {
		p.rest = p.rest[1:]
	}
	hour := p.number(2)
	p.literal(":")
	minute := p.number(2)
	p.literal(":")
	second := p.number(2)
	nanos := p.fraction()
	p.space()
	offset := p.offset()
	p.space()
	t := Timestamp{Leap: second == 60}
	if t.Leap {
		second = 59
	}
	t.Time = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	same := t.Time.Day() == day && t.Time.Month() == time.Month(month) && t.Time.Year() == year
	t.Time = t.Time.Add(-time.Duration(offset) * time.Second)
	if p.bad || p.rest != "" || !same || hour > 23 || minute > 59 || second > 59 ||
		t.Time.Year() < minYear || t.Time.Year() > maxYear {
		return Timestamp{}, invalid("%.80q is no time", s)
	}
	return t, nil
}

// timeParser takes a time apart from the front. After a fault it goes on with
// nonsense and stays bad.
type timeParser struct {
	rest string
	bad  bool
}

func (p *timeParser) space() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

func (p *timeParser) literal(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	p.bad = p.bad || !ok
	return ok
}

// number reads 1 to width digits, behind white space.
func (p *timeParser) number(width int) int {
	p.space()
	v, n := 0, 0
	for n < width && n < len(p.rest) && p.rest[n]-'0' <= 9 {
		v = v*10 + int(p.rest[n]-'0')
		n++
	}
	p.rest = p.rest[n:]
	p.bad = p.bad || n == 0
	return v
}

// year reads four digits at most, or any number of them behind a sign.
func (p *timeParser) year() int {
	p.space()
	sign, width := 1, 4
	if strings.HasPrefix(p.rest, "+") || strings.HasPrefix(p.rest, "-") {
		if p.rest[0] == '-' {
			sign = -1
		}
		p.rest = p.rest[1:]
		zeros := len(p.rest) - len(strings.TrimLeft(p.rest, "0"))
		width = zeros + 7 // more significant digits are beyond maxYear
		if p.rest == "" || p.rest[0]-'0' > 9 {
			p.bad = true
		}
	}
	return sign * p.number(width)
}

// fraction reads a fraction of a second and returns it in nanoseconds.
func (p *timeParser) fraction() int {
	if !strings.HasPrefix(p.rest, ".") {
		return 0
	}
	p.rest = p.rest[1:]
	digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
	v := 0
	for i := range 9 {
		v *= 10
		if i < digits {
			v += int(p.rest[i] - '0')
		}
	}
	p.rest = p.rest[digits:]
	p.bad = p.bad || digits == 0
	return v
}

// offset reads the offset from UTC and returns it in seconds, less than a day
// to either side.
func (p *timeParser) offset() int {
	if len(p.rest) >= 3 && strings.EqualFold(p.rest[:3], "utc") {
		p.rest = p.rest[3:]
		return 0
	}
	if p.rest == "" {
		p.bad = true
		return 0
	}
	sign, lead := 1, p.rest[0]
	p.rest = p.rest[1:]
	switch lead {
	case 'Z', 'z':
		return 0
	case '+':
	case '-':
		sign = -1
	default:
		p.bad = true
	}
	hours := p.twoDigits()
	p.rest = strings.TrimLeftFunc(p.rest, func(r rune) bool { return r == ':' || unicode.IsSpace(r) })
	minutes := p.twoDigits()
	p.bad = p.bad || hours > 23 || minutes > 59
	return sign * (hours*60 + minutes) * 60
}

func (p *timeParser) twoDigits() int {
	if len(p.rest) < 2 || p.rest[0]-'0' > 9 || p.rest[1]-'0' > 9 {
		p.bad = true
		return 0
	}
	v := int(p.rest[0]-'0')*10 + int(p.rest[1]-'0')
	p.rest = p.rest[2:]
	return v
}
