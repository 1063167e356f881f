package index

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
)

// MaxFieldBytes is the length of the longest string in a record: what is longer
// is ErrInvalid.
const MaxFieldBytes = 1 << 20

// Root is the parent of a block that begins a prompt. A block whose parent is not
// known has the parent "".
const Root = "root"

// Key names a block. It is comparable.
type Key struct {
	Scope
	Prefix string // hash of the parent block, Root, or "" if it is not known
	Hash   string // of the block
	Index  uint32 // position of the block in its prompt
	Group  uint32 // KV group, 0 for an engine with one
	Tokens uint32 // in the block; data, not a part of the identity (but see Rules)
}

// Record says that a worker holds a block in a tier.
type Record struct {
	Key
	Worker     string
	Tier       Tier
	Bytes      uint64
	LastAccess uint64 // milliseconds since 1970
	Refs       uint32 // who uses the block now; such records do not expire
	Pinned     bool   // nor do these
}

// Check returns ErrInvalid for a record that no index takes: without a tier, or
// with a field beyond MaxFieldBytes.
func (r *Record) Check() error {
	if !r.Tier.Valid() {
		return fmt.Errorf("index: record without a tier (%v): %w", r.Tier, kvferry.ErrInvalid)
	}
	adapter, _ := r.Adapter.Name()
	for _, f := range [...]string{r.Model, r.Tokenizer, adapter, r.Tenant, r.Prefix, r.Hash, r.Worker} {
		if len(f) > MaxFieldBytes {
			return fmt.Errorf("index: record with a field of %d bytes, at most %d: %w", len(f), MaxFieldBytes, kvferry.ErrInvalid)
		}
	}
	return nil
}

// Compare orders records by their identity: scope, prefix, hash, index, group,
// tokens, worker, tier.
func Compare(a, b *Record) int {
	if c := a.Scope.Compare(&b.Scope); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.Hash, b.Hash), cmp.Compare(a.Index, b.Index),
		cmp.Compare(a.Group, b.Group), cmp.Compare(a.Tokens, b.Tokens), strings.Compare(a.Worker, b.Worker), cmp.Compare(a.Tier, b.Tier))
}

// Sort puts records into the order of Compare. Those that are in order already
// cost one comparison each.
func Sort(rs []Record) {
	for i := 1; i < len(rs); i++ {
		if Compare(&rs[i-1], &rs[i]) > 0 {
			slices.SortFunc(rs, func(a, b Record) int { return Compare(&a, &b) })
			return
		}
	}
}
