package redis

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/redis/rueidis"
	"github.com/zeebo/blake3"

	"github.com/kvferry/kvferry/index"
)

const (
	headBytes  = 13 // tier, group, index, tokens of the identity
	refBytes   = 16 // of the digest of a parent with a long name
	inlineMax  = 24 // length of the longest parent that stands in a field itself
	valueBytes = 25 // tokens, bytes, last access, refs, flags

	refInline = 'i' // a length in one byte and the parent's hash
	refDigest = 'd' // the digest of the parent's hash, which is the value of another field:
	refName   = 'p' // this and the digest

	flagPinned  = 1
	flagAdapter = 2 // the record was put with an adapter, if only one without a name
)

// appendRef appends how a field names the parent.
func appendRef(dst []byte, prefix string) []byte {
	if len(prefix) <= inlineMax {
		return append(append(dst, refInline, byte(len(prefix))), prefix...)
	}
	sum := blake3.Sum256(unsafe.Slice(unsafe.StringData(prefix), len(prefix))) // only read
	return append(append(dst, refDigest), sum[:refBytes]...)
}

// appendHead appends what begins the name of a record's field; the worker ends it.
func (x *Index) appendHead(dst []byte, r *index.Record) []byte {
	dst = append(dst, byte(r.Tier))
	dst = binary.BigEndian.AppendUint32(dst, r.Group)
	dst = binary.BigEndian.AppendUint32(dst, r.Index)
	tokens := uint32(0)
	if x.o.Rules == index.AsMemory {
		tokens = r.Tokens
	}
	return appendRef(binary.BigEndian.AppendUint32(dst, tokens), r.Prefix)
}

func appendValue(dst []byte, r *index.Record) []byte {
	dst = binary.BigEndian.AppendUint32(dst, r.Tokens)
	dst = binary.BigEndian.AppendUint64(dst, r.Bytes)
	dst = binary.BigEndian.AppendUint64(dst, r.LastAccess)
	dst = binary.BigEndian.AppendUint32(dst, r.Refs)
	flags := byte(0)
	if r.Pinned {
		flags |= flagPinned
	}
	if _, ok := r.Adapter.Name(); ok {
		flags |= flagAdapter
	}
	return append(dst, flags)
}

// field is a field's name, read.
type field struct {
	tier                 index.Tier
	group, index, tokens uint32
	ref, worker          string
}

func parseField(s string) (field, error) {
	if len(s) < headBytes+2 {
		return field{}, corrupt("read", fmt.Sprintf("field of %d bytes", len(s)))
	}
	f := field{tier: index.Tier(s[0]), group: word(s[1:]), index: word(s[5:]), tokens: word(s[9:])}
	rest, n := s[headBytes:], 1+refBytes
	if rest[0] == refInline {
		n = 2 + int(rest[1])
	}
	if !f.tier.Valid() || rest[0] != refInline && rest[0] != refDigest || n > 2+inlineMax || n > len(rest) {
		return field{}, corrupt("read", "name of a field")
	}
	f.ref, f.worker = rest[:n], rest[n:]
	if len(f.worker) > index.MaxFieldBytes {
		return field{}, corrupt("read", "name of a field")
	}
	return f, nil
}

// parent returns the prefix that a field names; names are those of a block.
func (f *field) parent(names map[string]string) (string, error) {
	if f.ref[0] == refInline {
		return f.ref[2:], nil
	}
	p, ok := names[f.ref[1:]]
	if !ok || len(p) > index.MaxFieldBytes || string(appendRef(nil, p)) != f.ref {
		return "", corrupt("read", "name of a parent")
	}
	return p, nil
}

func word(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// parseRecord reads a record from its field and value; scope and hash say where
// they lay, names what parents' digests stand for.
func (x *Index) parseRecord(s *index.Scope, hash, name, value string, names map[string]string, r *index.Record) error {
	f, err := parseField(name)
	if err != nil {
		return err
	}
	prefix, err := f.parent(names)
	if err != nil {
		return err
	}
	if len(value) != valueBytes || value[24] > flagPinned|flagAdapter {
		return corrupt("read", "value of a record")
	}
	*r = index.Record{
		Key: index.Key{
			Scope: *s, Prefix: prefix, Hash: hash, Index: f.index, Group: f.group, Tokens: word(value),
		},
		Worker: f.worker, Tier: f.tier,
		Bytes:      uint64(word(value[4:]))<<32 | uint64(word(value[8:])),
		LastAccess: uint64(word(value[12:]))<<32 | uint64(word(value[16:])),
		Refs:       word(value[20:]), Pinned: value[24]&flagPinned != 0,
	}
	if x.o.Rules == index.AsMemory && f.tokens != r.Tokens || x.o.Rules != index.AsMemory && f.tokens != 0 {
		return corrupt("read", "tokens of a record")
	}
	if _, ok := s.Adapter.Name(); ok != (value[24]&flagAdapter != 0) {
		if ok && x.o.Rules == index.AsHolt && s.Adapter == index.Named("") {
			r.Adapter = index.Adapter{}
			return nil
		}
		return corrupt("read", "adapter of a record")
	}
	return nil
}

// block appends the records of a block's fields that take lets through. fields are
// names and values in turn.
func (x *Index) block(s *index.Scope, hash string, fields []string, dst []index.Record, take func(r *index.Record) bool) ([]index.Record, error) {
	if len(fields)%2 != 0 {
		return dst, corrupt("read", "fields of a block")
	}
	var names map[string]string
	for i := 0; i < len(fields); i += 2 {
		if name := fields[i]; name != "" && name[0] == refName {
			if names == nil {
				names = map[string]string{}
			}
			names[name[1:]] = fields[i+1]
		}
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] != "" && fields[i][0] == refName {
			continue
		}
		var r index.Record
		if err := x.parseRecord(s, hash, fields[i], fields[i+1], names, &r); err != nil {
			return dst, err
		}
		if take(&r) {
			dst = append(dst, r)
		}
	}
	return dst, nil
}

// list returns the elements of a reply, of which there have to be so many or more.
func list(m *rueidis.RedisMessage, atLeast int) ([]rueidis.RedisMessage, error) {
	l, err := m.ToArray()
	if err != nil || len(l) < atLeast {
		return nil, corrupt("read", "reply of a script")
	}
	return l, nil
}

func texts(m *rueidis.RedisMessage) ([]string, error) {
	l, err := m.AsStrSlice()
	if err != nil {
		return nil, corrupt("read", "list of a reply")
	}
	return l, nil
}
