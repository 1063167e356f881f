package wire

import (
	"encoding/binary"
	"strings"

	"github.com/kvferry/kvferry/index"
)

// Version begins every key.
const Version = 1

// The tags of keys, behind the version.
const (
	TagPrimary = 1
	TagHash    = 2
	TagWorker  = 3
)

// appendString appends a string and its end.
func appendString(dst []byte, s string) []byte {
	if strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, 1) < 0 {
		return append(append(dst, s...), 0)
	}
	plain := 0 // where what is not yet written begins
	for i := range len(s) {
		if s[i] <= 1 {
			dst = append(append(dst, s[plain:i]...), 1, s[i]+1)
			plain = i + 1
		}
	}
	return append(append(dst, s[plain:]...), 0)
}

func appendUint(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

func appendAdapter(dst []byte, a index.Adapter) []byte {
	name, named := a.Name()
	if !named {
		return append(dst, 0)
	}
	return appendString(append(dst, 1), name)
}

func appendScope(dst []byte, s *index.Scope) []byte {
	dst = appendString(appendString(dst, s.Model), s.Tokenizer)
	return appendString(appendAdapter(dst, s.Adapter), s.Tenant)
}

// appendBlock appends what primary keys have between the tag and the worker.
func appendBlock(dst []byte, k *index.Key) []byte {
	dst = appendString(appendString(appendScope(dst, &k.Scope), k.Prefix), k.Hash)
	return appendUint(appendUint(appendUint(dst, k.Index), k.Group), k.Tokens)
}

// AppendPrimary appends the primary key of a record. Its Key is one that
// index.Rules.Key returned.
func AppendPrimary(dst []byte, k *index.Key, worker string, t index.Tier) []byte {
	dst = appendBlock(append(dst, Version, TagPrimary), k)
	return append(appendString(dst, worker), byte(t))
}

// AppendByHash appends the second key of a record.
func AppendByHash(dst []byte, k *index.Key, worker string, t index.Tier) []byte {
	dst = appendString(AppendHash(dst, k.Hash), worker)
	dst = appendString(appendString(appendString(dst, k.Model), k.Tokenizer), k.Tenant)
	dst = appendUint(append(appendAdapter(dst, k.Adapter), byte(t)), k.Group)
	return appendUint(appendUint(appendString(dst, k.Prefix), k.Index), k.Tokens)
}

// AppendByWorker appends the third key of a record.
func AppendByWorker(dst []byte, k *index.Key, worker string, t index.Tier) []byte {
	return appendBlock(append(AppendWorker(dst, worker), byte(t)), k)
}

// AppendScope appends what the primary keys of a scope begin with.
func AppendScope(dst []byte, s *index.Scope) []byte {
	return appendScope(append(dst, Version, TagPrimary), s)
}

// AppendParent appends what the primary keys of a parent's children begin with.
func AppendParent(dst []byte, s *index.Scope, prefix string) []byte {
	return appendString(AppendScope(dst, s), prefix)
}

// AppendChild appends what the primary keys of a hash under a parent begin with.
func AppendChild(dst []byte, s *index.Scope, prefix, hash string) []byte {
	return appendString(AppendParent(dst, s, prefix), hash)
}

// AppendKey appends what the primary keys of a block begin with; of its index and
// group, but of all its tokens.
func AppendKey(dst []byte, k *index.Key) []byte {
	return appendUint(appendUint(AppendChild(dst, &k.Scope, k.Prefix, k.Hash), k.Index), k.Group)
}

// AppendTokens appends the tokens to what AppendKey wrote.
func AppendTokens(dst []byte, tokens uint32) []byte { return appendUint(dst, tokens) }

// AppendHash appends what the keys by hash begin with.
func AppendHash(dst []byte, hash string) []byte {
	return appendString(append(dst, Version, TagHash), hash)
}

// AppendRemoval appends the longest that the keys by hash of all records begin
// with that a removal selects. Some that begin so may not be selected, see
// Selected.
func AppendRemoval(dst []byte, r *index.Removal) []byte {
	dst = appendString(AppendHash(dst, r.Hash), r.Worker)
	dst = appendString(appendString(appendString(dst, r.Model), r.Tokenizer), r.Tenant)
	if r.AnyAdapter {
		return dst
	}
	dst = appendAdapter(dst, r.Adapter)
	if r.Tier == 0 {
		return dst
	}
	dst = append(dst, byte(r.Tier))
	if r.OneGroup {
		dst = appendUint(dst, r.Group)
	}
	return dst
}

// Selected reports whether a removal selects a record whose key by hash begins
// with what AppendRemoval wrote.
func Selected(r *index.Removal, found *index.Record) bool {
	return (r.Tier == 0 || r.Tier == found.Tier) && (!r.OneGroup || r.Group == found.Group)
}

// AppendWorker appends what the keys by worker of a worker begin with.
func AppendWorker(dst []byte, worker string) []byte {
	return appendString(append(dst, Version, TagWorker), worker)
}

// AppendWorkerTier appends what those of one of its tiers begin with.
func AppendWorkerTier(dst []byte, worker string, t index.Tier) []byte {
	return append(AppendWorker(dst, worker), byte(t))
}

// AppendEnd appends the least key behind all that begin with prefix, which begins
// with Version.
func AppendEnd(dst, prefix []byte) []byte {
	n := len(prefix)
	for prefix[n-1] == 0xff {
		n--
	}
	dst = append(dst, prefix[:n]...)
	dst[len(dst)-1]++
	return dst
}
