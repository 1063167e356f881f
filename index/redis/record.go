package redis

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

const (
	headBytes  = 13 // tier, group, index, tokens of the identity
	valueBytes = 25 // tokens, bytes, last access, refs, flags

	// An entry of a block begins with one of these.
	tagChild  = 'C' // the hash of a block whose parent this one is
	tagSpill  = 'S' // there are too many of them: they are a set of their own
	tagLarge  = 'L' // the records are many: they are a hash of their own
	tagParent = 'P' // the parent of the records that follow
	tagRecord = 'R' // head and worker
	tagValue  = 'V' // of the record before

	flagPinned  = 1
	flagAdapter = 2 // the record was put with an adapter, if only one without a name
)

// isLarge is in blocks whose records are a hash of their own. Scripts put the two
// together.
var isLarge = string([]byte{mark, tagLarge, mark})

// appendKey appends the entry that says which record of the block this is.
func (x *Index) appendKey(dst []byte, r *index.Record) []byte {
	tokens := uint32(0)
	if x.o.Rules == index.AsMemory {
		tokens = r.Tokens
	}
	var head [headBytes]byte
	head[0] = byte(r.Tier)
	binary.BigEndian.PutUint32(head[1:], r.Group)
	binary.BigEndian.PutUint32(head[5:], r.Index)
	binary.BigEndian.PutUint32(head[9:], tokens)
	return append(appendEscaped(appendEscaped(append(dst, tagRecord), head[:]), r.Worker), mark)
}

// appendValue appends the entry that says what the record is.
func appendValue(dst []byte, r *index.Record) []byte {
	var v [valueBytes]byte
	binary.BigEndian.PutUint32(v[:], r.Tokens)
	binary.BigEndian.PutUint64(v[4:], r.Bytes)
	binary.BigEndian.PutUint64(v[12:], r.LastAccess)
	binary.BigEndian.PutUint32(v[20:], r.Refs)
	if r.Pinned {
		v[24] |= flagPinned
	}
	if _, ok := r.Adapter.Name(); ok {
		v[24] |= flagAdapter
	}
	return append(appendEscaped(append(dst, tagValue), v[:]), mark)
}

// head is what a record's key has before the worker, read.
type head struct {
	tier                 index.Tier
	group, index, tokens uint32
}

// parseKey reads an entry without its tag.
func parseKey(s string) (h head, worker string, err error) {
	if s, err = unescape(s); err != nil {
		return h, "", err
	}
	if len(s) < headBytes || len(s) > headBytes+index.MaxFieldBytes || !index.Tier(s[0]).Valid() {
		return h, "", corrupt("read", fmt.Sprintf("record of %d bytes", len(s)))
	}
	return head{tier: index.Tier(s[0]), group: word(s[1:]), index: word(s[5:]), tokens: word(s[9:])}, s[headBytes:], nil
}

func word(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// parseRecord reads a record from its entries without tags; scope, hash and prefix
// say where they lay.
func (x *Index) parseRecord(s *index.Scope, hash, prefix, key, value string, r *index.Record) error {
	h, worker, err := parseKey(key)
	if err != nil {
		return err
	}
	if value, err = unescape(value); err != nil {
		return err
	}
	if len(value) != valueBytes || value[24] > flagPinned|flagAdapter {
		return corrupt("read", "value of a record")
	}
	*r = index.Record{
		Key: index.Key{
			Scope: *s, Prefix: prefix, Hash: hash, Index: h.index, Group: h.group, Tokens: word(value),
		},
		Worker: worker, Tier: h.tier,
		Bytes:      uint64(word(value[4:]))<<32 | uint64(word(value[8:])),
		LastAccess: uint64(word(value[12:]))<<32 | uint64(word(value[16:])),
		Refs:       word(value[20:]), Pinned: value[24]&flagPinned != 0,
	}
	if x.o.Rules == index.AsMemory && h.tokens != r.Tokens || x.o.Rules != index.AsMemory && h.tokens != 0 {
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

// block appends the records of a block that take lets through.
func (x *Index) block(s *index.Scope, hash, block string, dst []index.Record, take func(r *index.Record) bool) ([]index.Record, error) {
	prefix, read := "", ""
	es := entriesOf(block)
	for es.next() {
		if es.parent != read || prefix == "" {
			var err error
			if prefix, err = name(es.parent); err != nil {
				return dst, err
			}
			read = es.parent
		}
		var r index.Record
		if err := x.parseRecord(s, hash, prefix, es.key, es.value, &r); err != nil {
			return dst, err
		}
		if take(&r) {
			dst = append(dst, r)
		}
	}
	return dst, es.err
}

// name reads the hash of a block as it is stored.
func name(s string) (string, error) {
	s, err := unescape(s)
	if err == nil && len(s) > index.MaxFieldBytes {
		err = corrupt("read", "hash of a block")
	}
	return s, err
}

// entries walks through the records of a block.
type entries struct {
	rest               string
	parent, key, value string // as they are stored, without tags
	grouped            bool   // a parent was seen
	bare               bool   // it has no record yet
	err                error
}

// entriesOf begins; a block that is not there is "".
func entriesOf(block string) entries {
	e := entries{}
	switch {
	case block == "":
	case block[0] != mark || block[len(block)-1] != mark || len(block) < 2:
		e.err = corrupt("read", "block")
	default:
		e.rest = block[1:]
	}
	return e
}

// next goes on to the next record.
func (e *entries) next() bool {
	for e.err == nil && e.rest != "" {
		entry := e.cut()
		switch {
		case entry == "":
			e.err = corrupt("read", "entry of a block")
		case (entry[0] == tagChild || entry == string(tagSpill)) && !e.grouped:
		case entry[0] == tagParent && !e.bare:
			e.parent, e.grouped, e.bare = entry[1:], true, true
		case entry[0] == tagRecord && e.grouped && e.rest != "":
			value := e.cut()
			if value == "" || value[0] != tagValue {
				e.err = corrupt("read", "entry of a block")
				return false
			}
			e.key, e.value, e.bare = entry[1:], value[1:], false
			return true
		default:
			e.err = corrupt("read", "entry of a block")
		}
	}
	if e.err == nil && e.bare {
		e.err = corrupt("read", "block with a parent and no record")
	}
	return false
}

// cut takes the next entry; the last byte of what is left is a mark.
func (e *entries) cut() string {
	i := strings.IndexByte(e.rest, mark)
	entry := e.rest[:i]
	e.rest = e.rest[i+1:]
	return entry
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

// text reads a block from a reply.
func text(m *rueidis.RedisMessage) (string, error) {
	s, err := m.ToString()
	if err != nil {
		return "", corrupt("read", "block of a reply")
	}
	return s, nil
}
