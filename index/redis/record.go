package redis

import (
	"encoding/binary"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

const (
	headBytes  = 13 // tier, group, index, tokens of the identity
	valueBytes = 25 // tokens, bytes, last access, refs, flags

	flagPinned  = 1
	flagAdapter = 2 // the record was put with an adapter, if only one without a name
)

// appendHead appends what begins the name of a record's field.
func (x *Index) appendHead(dst []byte, r *index.Record) []byte {
	dst = append(dst, byte(r.Tier))
	dst = binary.BigEndian.AppendUint32(dst, r.Group)
	dst = binary.BigEndian.AppendUint32(dst, r.Index)
	tokens := uint32(0)
	if x.o.Rules == index.AsMemory {
		tokens = r.Tokens
	}
	return binary.BigEndian.AppendUint32(dst, tokens)
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
	worker, prefix       string
}

func parseField(s string) (field, error) {
	if len(s) < headBytes {
		return field{}, corrupt("read", fmt.Sprintf("field of %d bytes", len(s)))
	}
	worker, prefix, ok := cutField(s[headBytes:], true)
	f := field{
		tier: index.Tier(s[0]), group: word(s[1:]), index: word(s[5:]), tokens: word(s[9:]),
		worker: worker, prefix: prefix,
	}
	if !ok || !f.tier.Valid() || len(prefix) > index.MaxFieldBytes {
		return field{}, corrupt("read", "name of a field")
	}
	return f, nil
}

func word(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// parseRecord reads a record from its field and value; scope and hash say where
// they lay.
func (x *Index) parseRecord(s *index.Scope, hash, name, value string, r *index.Record) error {
	f, err := parseField(name)
	if err != nil {
		return err
	}
	if len(value) != valueBytes || value[24] > flagPinned|flagAdapter {
		return corrupt("read", "value of a record")
	}
	*r = index.Record{
		Key: index.Key{
			Scope: *s, Prefix: f.prefix, Hash: hash, Index: f.index, Group: f.group, Tokens: word(value),
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
	for i := 0; i < len(fields); i += 2 {
		var r index.Record
		if err := x.parseRecord(s, hash, fields[i], fields[i+1], &r); err != nil {
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
