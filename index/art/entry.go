package art

import (
	"encoding/binary"

	"github.com/kvferry/kvferry/index"
)

// The kinds of entries in a frame of the log.
const (
	entryScope       = 1
	entryWorker      = 2
	entryPut         = 3
	entryRemove      = 4
	entryClearWorker = 5
	entryClear       = 6
	entryExpire      = 7
	entryAnnounce    = 8
	entryVanish      = 9 // the worker's records in volatile tiers are gone
	entryMark        = 10
	entryNumbers     = 13 // 11 and 12 are those of snapshots
	entryClosed      = 14
)

// The flags of a put, above the tier.
const (
	tierMask     = 0x07
	putPinned    = 0x08
	putNoAdapter = 0x10 // where none and one without a name are the same: it was none
	putChained   = 0x20 // its prefix is the hash of the put before in the frame
	putUsed      = 0x40 // Refs and Group are there, which are seldom other than 0
)

// The flags of a removal, above the tier.
const (
	removeAnyAdapter = 0x08
	removeOneGroup   = 0x10
)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendUints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func appendScopeEntry(dst []byte, id uint32, s *index.Scope) []byte {
	name, named := s.Adapter.Name()
	dst = append(dst, entryScope)
	dst = binary.AppendUvarint(dst, uint64(id))
	dst = appendString(appendString(dst, s.Model), s.Tokenizer)
	if named {
		dst = appendString(append(dst, 1), name)
	} else {
		dst = append(dst, 0)
	}
	return appendString(dst, s.Tenant)
}

func appendWorkerEntry(dst []byte, id uint32, name string) []byte {
	return appendString(appendUints(append(dst, entryWorker), uint64(id)), name)
}

// appendPut appends a record whose parent is before, if that is not nil.
func (x *state) appendPut(dst []byte, sid, wid uint32, r, before *index.Record) []byte {
	flags := byte(r.Tier)
	if r.Pinned {
		flags |= putPinned
	}
	if x.flags(r)&flagNoAdapter != 0 {
		flags |= putNoAdapter
	}
	chained := before != nil && before.Hash == r.Prefix
	if chained {
		flags |= putChained
	}
	used := r.Refs != 0 || r.Group != 0
	if used {
		flags |= putUsed
	}
	dst = appendUints(append(dst, entryPut, flags), uint64(sid), uint64(wid))
	if !chained {
		dst = appendString(dst, r.Prefix)
	}
	dst = appendString(dst, r.Hash)
	dst = appendUints(dst, uint64(r.Index), uint64(r.Tokens), r.Bytes, r.LastAccess)
	if used {
		dst = appendUints(dst, uint64(r.Refs), uint64(r.Group))
	}
	return dst
}

func appendRemove(dst []byte, sid, wid uint32, m *index.Removal) []byte {
	flags := byte(m.Tier)
	if m.AnyAdapter {
		flags |= removeAnyAdapter
	}
	if m.OneGroup {
		flags |= removeOneGroup
	}
	dst = appendUints(append(dst, entryRemove, flags), uint64(sid), uint64(wid))
	dst = appendString(dst, m.Hash)
	if m.OneGroup {
		dst = appendUints(dst, uint64(m.Group))
	}
	return dst
}
