package indextest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/kvferry/kvferry/index"
)

// oddities are strings that encodings of keys get wrong. Several of them look
// alike once they are joined, or with a NUL moved.
var oddities = []string{
	"", "a", "b", "ab", "aa", "\x00", "\x00\x00", "a\x00", "\x00a", "a\x00b", "\x01", "\x02", "\xff", "\xff\xff", "a\xff", "\xfe\x00",
	"root", "é", "e\u0301", "ブロック", "\U0001f600", "\xed\xa0\x80", "\u2028", `"\`, "null", "{x}", "../..", "/", "a.new", "a.json",
	"a.json.new", strings.Repeat("x", 300),
}

// universe is what random operations choose from: few enough of everything that
// they meet.
type universe struct {
	*rand.Rand
	scopes  []index.Scope
	hashes  []string
	workers []string
	tokens  []uint32
	groups  []uint32
	indexes []uint32
	clock   uint64
	recent  []index.Record // some that were put
}

func newUniverse(seed uint64) *universe {
	u := &universe{
		Rand: rand.New(rand.NewPCG(seed, seed)), tokens: []uint32{16, 16, 64}, groups: []uint32{0, 0, 0, 1, math.MaxUint32},
		indexes: []uint32{0, 1, 256, math.MaxUint32}, clock: 1000,
	}
	for range 3 {
		s := u.scope()
		u.scopes = append(u.scopes, s, u.alike(s))
	}
	for range 5 {
		u.hashes = append(u.hashes, u.odd())
	}
	u.hashes = append(u.hashes, "h0", "h1", "h2", index.Root)
	u.workers = []string{"w0", "w1", u.odd(), u.odd()}
	return u
}

func (u *universe) odd() string { return oddities[u.IntN(len(oddities))] }

func (u *universe) adapter() index.Adapter {
	if u.IntN(3) == 0 {
		return index.Adapter{}
	}
	return index.Named(u.odd())
}

func (u *universe) scope() index.Scope {
	return index.Scope{Model: u.odd(), Tokenizer: u.odd(), Adapter: u.adapter(), Tenant: u.odd()}
}

// alike returns another scope that a sloppy encoding confuses with s: a field's
// end moved to the next field, a NUL moved, an adapter without a name for none.
func (u *universe) alike(s index.Scope) index.Scope {
	name, named := s.Adapter.Name()
	switch u.IntN(6) {
	case 0:
		s.Model, s.Tokenizer = s.Model+s.Tokenizer, ""
	case 1:
		s.Model, s.Tokenizer = s.Model+"\x00"+s.Tokenizer, ""
	case 2:
		s.Tokenizer, s.Adapter = s.Tokenizer+"\x00", index.Named(strings.TrimPrefix(name, "\x00"))
	case 3:
		s.Adapter = index.Named("")
		if named && name == "" {
			s.Adapter = index.Adapter{}
		}
	case 4:
		s.Tenant += "\x00root"
	case 5:
		s.Adapter, s.Tenant = index.Named(name+s.Tenant), ""
	}
	return s
}

func pick[T any](u *universe, of []T) T { return of[u.IntN(len(of))] }

func (u *universe) tier() index.Tier { return index.Tier(1 + u.IntN(index.Tiers-1)) }

func (u *universe) prefix() string {
	switch u.IntN(4) {
	case 0:
		return index.Root
	case 1:
		return ""
	}
	return pick(u, u.hashes)
}

// key returns the key of a record that was put, one that differs from such a key in
// one field, or any.
func (u *universe) key() index.Key {
	if n := u.IntN(4); n > 0 && len(u.recent) > 0 {
		k := pick(u, u.recent).Key
		if n == 1 {
			u.alter(&k)
		}
		return k
	}
	return index.Key{
		Scope: pick(u, u.scopes), Prefix: u.prefix(), Hash: pick(u, u.hashes), Index: pick(u, u.indexes),
		Group: pick(u, u.groups), Tokens: pick(u, u.tokens),
	}
}

func (u *universe) alter(k *index.Key) {
	switch u.IntN(6) {
	case 0:
		k.Scope = pick(u, u.scopes)
	case 1:
		k.Prefix = u.prefix()
	case 2:
		k.Hash = pick(u, u.hashes)
	case 3:
		k.Index = pick(u, u.indexes)
	case 4:
		k.Group = pick(u, u.groups)
	case 5:
		k.Tokens = pick(u, u.tokens)
	}
}

// remember makes room for keys that are asked for later.
func (u *universe) remember(rs []index.Record) []index.Record {
	for _, r := range rs {
		if len(u.recent) < 40 {
			u.recent = append(u.recent, r)
		} else {
			u.recent[u.IntN(len(u.recent))] = r
		}
	}
	return rs
}

func (u *universe) record() index.Record {
	u.clock++
	r := index.Record{Key: u.key(), Worker: pick(u, u.workers), Tier: u.tier(), Bytes: uint64(u.IntN(1 << 20)), LastAccess: u.clock}
	switch u.IntN(10) {
	case 0:
		r.Pinned = true
	case 1:
		r.Refs = 1 + u.Uint32N(9)
	case 2:
		r.Bytes, r.LastAccess, r.Refs = math.MaxUint64, math.MaxUint64, math.MaxUint32
	}
	return r
}

// prompt returns the hashes of a prompt.
func (u *universe) prompt() []string {
	hashes := slices.Clone(u.hashes)
	u.Shuffle(len(hashes), func(i, j int) { hashes[i], hashes[j] = hashes[j], hashes[i] })
	return hashes[:u.IntN(len(hashes)+1)]
}

// chain returns the records of a prompt's beginning on one worker, with a hole, an
// unknown parent or another tier now and then.
func (u *universe) chain() []index.Record {
	base := u.record()
	base.Group = u.groups[0]
	var rs []index.Record
	parent := index.Root
	for i, h := range u.prompt() {
		r := base
		r.Prefix, r.Hash, r.Index = parent, h, uint32(i)
		parent = h
		switch u.IntN(12) {
		case 0:
			continue
		case 1:
			r.Prefix = ""
		case 2:
			r.Tier = u.tier()
		}
		rs = append(rs, r)
	}
	return rs
}

func (u *universe) removal() index.Removal {
	x := index.Removal{Scope: pick(u, u.scopes), Worker: pick(u, u.workers), Hash: pick(u, u.hashes), Group: pick(u, u.groups)}
	if u.IntN(2) == 0 && len(u.recent) > 0 {
		r := pick(u, u.recent)
		x = removalOf(&r)
		x.Group = r.Group
	}
	if u.IntN(4) == 0 {
		x.AnyAdapter, x.Adapter = true, u.adapter()
	}
	if u.IntN(2) == 0 {
		x.Tier = u.tier()
	}
	if u.IntN(3) == 0 {
		x.OneGroup = true
	}
	return x
}

// write returns an operation that changes the index, most often.
func (u *universe) write() op {
	switch n := u.IntN(100); {
	case n < 35:
		return op{kind: opPut, records: u.remember([]index.Record{u.record()})}
	case n < 50:
		return op{kind: opPut, records: u.remember(u.chain())}
	case n < 58:
		rs := []index.Record{u.record(), u.record(), u.record()}
		return op{kind: opPut, records: append(u.remember(rs), with(rs[0], func(r *index.Record) { r.Bytes++ }))}
	case n < 85:
		xs := []index.Removal{u.removal()}
		for u.IntN(3) > 0 {
			xs = append(xs, u.removal())
		}
		return op{kind: opRemove, removals: xs}
	case n < 90:
		return op{kind: opClearWorker, worker: pick(u, u.workers)}
	case n < 91:
		return op{kind: opClear}
	case n < 95:
		return op{kind: opExpire, number: u.clock - u.Uint64N(40)}
	}
	return op{kind: opAnnounce, worker: pick(u, u.workers), number: 1 + u.Uint64N(2)}
}

// read returns an operation that changes nothing.
func (u *universe) read() op {
	switch u.IntN(8) {
	case 0, 1:
		return op{kind: opLocate, key: u.key()}
	case 2, 3:
		return op{kind: opScan, key: u.key()}
	case 4:
		return op{kind: opByHash, key: u.key()}
	}
	q := index.Query{Scope: pick(u, u.scopes), Hashes: u.prompt(), Group: pick(u, u.groups)}
	if u.IntN(3) == 0 {
		q.Workers = []string{pick(u, u.workers), "nobody", pick(u, u.workers)}
	}
	return op{kind: opMatch, query: q}
}
