package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// decoder takes a key apart. After an error it gives zeros.
type decoder struct {
	rest string
	bad  string // what is wrong with it
}

func (d *decoder) fail(why string) {
	if d.bad == "" {
		d.bad, d.rest = why, ""
	}
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.fail("ends early")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uint() uint32 {
	if len(d.rest) < 4 {
		d.fail("ends early")
		return 0
	}
	b := d.rest[:4]
	d.rest = d.rest[4:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// string returns a string, which is a part of the key if nothing was escaped.
func (d *decoder) string() string {
	end := strings.IndexByte(d.rest, 0)
	if end < 0 {
		d.fail("has a string without an end")
		return ""
	}
	s := d.rest[:end]
	d.rest = d.rest[end+1:]
	if strings.IndexByte(s, 1) >= 0 {
		s = d.unescape(s)
	}
	if len(s) > index.MaxFieldBytes {
		d.fail("has a string that is too long")
		return ""
	}
	return s
}

func (d *decoder) unescape(s string) string {
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == 1 {
			i++
			if i == len(s) || s[i] < 1 || s[i] > 2 {
				d.fail("has an escape that there is not")
				return ""
			}
			c = s[i] - 1
		}
		plain = append(plain, c)
	}
	return string(plain)
}

func (d *decoder) adapter() index.Adapter {
	switch d.byte() {
	case 0:
		return index.Adapter{}
	case 1:
		return index.Named(d.string())
	}
	d.fail("has no adapter")
	return index.Adapter{}
}

func (d *decoder) tier() index.Tier {
	t := index.Tier(d.byte())
	if !t.Valid() {
		d.fail("has no tier")
		return 0
	}
	return t
}

// block takes what primary keys have between the tag and the worker.
func (d *decoder) block(k *index.Key) {
	k.Model, k.Tokenizer, k.Adapter, k.Tenant = d.string(), d.string(), d.adapter(), d.string()
	k.Prefix, k.Hash = d.string(), d.string()
	k.Index, k.Group, k.Tokens = d.uint(), d.uint(), d.uint()
}

func (d *decoder) tag(want byte) {
	if v := d.byte(); v != Version {
		d.fail(fmt.Sprintf("is of version %d", v))
	}
	if t := d.byte(); t != want {
		d.fail(fmt.Sprintf("has the tag %d", t))
	}
}

// end returns what was wrong.
func (d *decoder) end(kind string) error {
	if d.rest != "" {
		d.fail("goes on behind its end")
	}
	if d.bad != "" {
		return fmt.Errorf("wire: %s %s: %w", kind, d.bad, kvferry.ErrCorrupt)
	}
	return nil
}

// ParsePrimary sets the identity of r from a primary key.
func ParsePrimary(key []byte, r *index.Record) error {
	d := decoder{rest: string(key)}
	d.tag(TagPrimary)
	d.block(&r.Key)
	r.Worker, r.Tier = d.string(), d.tier()
	return d.end("primary key")
}

// ParseRest sets the identity of r, but for scope and prefix, from a primary key
// that begins with what AppendParent wrote, from there on. r keeps those two.
func ParseRest(rest []byte, r *index.Record) error {
	d := decoder{rest: string(rest)}
	r.Hash = d.string()
	r.Index, r.Group, r.Tokens = d.uint(), d.uint(), d.uint()
	r.Worker, r.Tier = d.string(), d.tier()
	return d.end("primary key")
}

// ParseByHash sets the identity of r from a key by hash.
func ParseByHash(key []byte, r *index.Record) error {
	d := decoder{rest: string(key)}
	d.tag(TagHash)
	r.Hash, r.Worker = d.string(), d.string()
	r.Model, r.Tokenizer, r.Tenant, r.Adapter = d.string(), d.string(), d.string(), d.adapter()
	r.Tier, r.Group = d.tier(), d.uint()
	r.Prefix, r.Index, r.Tokens = d.string(), d.uint(), d.uint()
	return d.end("key by hash")
}

// ParseByWorker sets the identity of r from a key by worker.
func ParseByWorker(key []byte, r *index.Record) error {
	d := decoder{rest: string(key)}
	d.tag(TagWorker)
	r.Worker, r.Tier = d.string(), d.tier()
	d.block(&r.Key)
	return d.end("key by worker")
}

// The flags of values.
const (
	flagPinned    = 1
	flagNoAdapter = 2
)

// MaxValueBytes is the length of the longest value.
const MaxValueBytes = 1 + 2*binary.MaxVarintLen32 + 2*binary.MaxVarintLen64

// AppendValue appends what a primary key of r, under these rules, stands for.
func AppendValue(dst []byte, r *index.Record, rules index.Rules) []byte {
	var flags byte
	if r.Pinned {
		flags |= flagPinned
	}
	if rules.Scope(r.Scope) != r.Scope {
		flags |= flagNoAdapter
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(r.Tokens))
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, r.Bytes), r.LastAccess)
	return binary.AppendUvarint(dst, uint64(r.Refs))
}

// ParseValue sets the data of r, whose identity is set.
func ParseValue(value []byte, r *index.Record) error {
	bad := func(why string) error { return fmt.Errorf("wire: value %s: %w", why, kvferry.ErrCorrupt) }
	if len(value) == 0 || value[0]&^(flagPinned|flagNoAdapter) != 0 {
		return bad("has no flags")
	}
	r.Pinned = value[0]&flagPinned != 0
	if value[0]&flagNoAdapter != 0 {
		if r.Adapter != index.Named("") {
			return bad("takes an adapter away that its key has")
		}
		r.Adapter = index.Adapter{}
	}
	var numbers [4]uint64
	rest := value[1:]
	for i := range numbers {
		v, n := binary.Uvarint(rest)
		if n <= 0 || n > 1 && rest[n-1] == 0 {
			return bad("has no number")
		}
		numbers[i], rest = v, rest[n:]
	}
	if len(rest) > 0 || numbers[0] > 1<<32-1 || numbers[3] > 1<<32-1 {
		return bad("has a number that is too large, or goes on behind its end")
	}
	r.Tokens, r.Bytes, r.LastAccess, r.Refs = uint32(numbers[0]), numbers[1], numbers[2], uint32(numbers[3])
	return nil
}

// ValueBytes returns the Bytes of a value without the rest, for counting.
func ValueBytes(value []byte) (uint64, error) {
	r := index.Record{}
	r.Adapter = index.Named("") // any value fits it
	err := ParseValue(value, &r)
	return r.Bytes, err
}

// ParseWorker reads a worker's name as it is in keys, which nothing follows.
func ParseWorker(b []byte) (string, error) {
	d := decoder{rest: string(b)}
	name := d.string()
	return name, d.end("worker")
}

// ParseHolder reads what is behind AppendChild in a primary key, without the
// worker's name, which it returns as it is in keys: what ParseWorker reads.
func ParseHolder(rest []byte) (worker []byte, group uint32, t index.Tier, err error) {
	if len(rest) < 12+2 {
		return nil, 0, 0, fmt.Errorf("wire: primary key ends early: %w", kvferry.ErrCorrupt)
	}
	worker, t = rest[12:len(rest)-1], index.Tier(rest[len(rest)-1])
	if bytes.IndexByte(worker, 0) != len(worker)-1 || !t.Valid() {
		return nil, 0, 0, fmt.Errorf("wire: primary key without worker and tier: %w", kvferry.ErrCorrupt)
	}
	return worker, binary.BigEndian.Uint32(rest[4:]), t, nil
}
