package fsdir

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// The names in the directory.
const (
	formatName   = "format"
	lockName     = "lock"
	sequenceName = "sequence.json"
	scopesName   = "scopes"
	workersName  = "workers"
	tmpName      = "tmp"

	suffix    = ".json"
	newSuffix = ".new"

	unknownParent = "@unknown"
)

// maxNameBytes leaves room for the suffixes below the 255 of file systems.
const maxNameBytes = 240

// plain reports whether a byte stands for itself in names.
func plain(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		return true
	}
	return c == '.' && !first
}

// appendName appends a string as names have it. At more than the greatest length
// of a name it stops.
func appendName(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s) && len(dst) <= maxNameBytes; i++ {
		if c := s[i]; plain(c, i == 0) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// bounded returns a name, or what stands for it if it is too long: that of what
// it says.
func bounded(name []byte, says func() []byte) string {
	if len(name) <= maxNameBytes {
		return string(name)
	}
	sum := sha256.Sum256(says())
	return "@" + hex.EncodeToString(sum[:])
}

// scopeName returns the name of a scope's directory.
func scopeName(s *index.Scope) string {
	b := appendName([]byte("model="), s.Model)
	b = appendName(append(b, ",tokenizer="...), s.Tokenizer)
	if adapter, ok := s.Adapter.Name(); ok {
		b = appendName(append(b, ",adapter="...), adapter)
	}
	b = appendName(append(b, ",tenant="...), s.Tenant)
	return bounded(b, func() []byte { return wire.AppendScope(nil, s) })
}

// parentName returns the name of a parent's directory.
func parentName(prefix string) string {
	if prefix == "" {
		return unknownParent
	}
	return bounded(appendName(nil, prefix), func() []byte { return []byte(prefix) })
}

// blockName returns the name of a record's file. Its key is as the rules have it.
func blockName(k *index.Key, worker string, t index.Tier, tokens bool) string {
	b := appendName(nil, k.Hash)
	b = appendName(append(b, ",worker="...), worker)
	b = append(append(b, ",tier="...), t.String()...)
	b = strconv.AppendUint(append(b, ",index="...), uint64(k.Index), 10)
	b = strconv.AppendUint(append(b, ",group="...), uint64(k.Group), 10)
	if tokens {
		b = strconv.AppendUint(append(b, ",tokens="...), uint64(k.Tokens), 10)
	}
	return bounded(b, func() []byte { return wire.AppendPrimary(nil, k, worker, t) }) + suffix
}

// recordPath returns where the file of a record is.
func recordPath(r *index.Record, rules index.Rules) string {
	k := rules.Key(r.Key)
	return scopesName + "/" + scopeName(&k.Scope) + "/" + parentName(k.Prefix) + "/" +
		blockName(&k, r.Worker, r.Tier, rules == index.AsMemory)
}

// workerPath returns where the file of a worker is.
func workerPath(name string) string {
	b := []byte("@empty")
	if name != "" {
		b = appendName(nil, name)
	}
	return workersName + "/" + bounded(b, func() []byte { return []byte(name) }) + suffix
}

// dirOf returns the directory of a path.
func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')] }
