package art

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// entries reads those of a frame. After the first that is malformed it is bad,
// and everything is zero.
type entries struct {
	b   []byte
	bad bool
}

func (e *entries) fail() {
	e.b, e.bad = nil, true
}

func (e *entries) byte() byte {
	if len(e.b) == 0 {
		e.fail()
		return 0
	}
	c := e.b[0]
	e.b = e.b[1:]
	return c
}

func (e *entries) uint() uint64 {
	v, n := binary.Uvarint(e.b)
	if n <= 0 {
		e.fail()
		return 0
	}
	e.b = e.b[n:]
	return v
}

func (e *entries) uint32() uint32 {
	v := e.uint()
	if v > math.MaxUint32 {
		e.fail()
		return 0
	}
	return uint32(v)
}

// string returns one that shares the memory of the entries.
func (e *entries) string() string {
	n := e.uint()
	if n > uint64(len(e.b)) || n > index.MaxFieldBytes {
		e.fail()
		return ""
	}
	s := e.b[:n]
	e.b = e.b[n:]
	return unsafe.String(unsafe.SliceData(s), len(s))
}

// numbers reads those of a scope and a worker that x knows.
func (e *entries) numbers(x *state) (id numbers) {
	id = numbers{e.uint32(), e.uint32()}
	if e.bad || int(id.scope) >= len(x.scopes.all) || x.scopes.all[id.scope] == nil {
		e.fail()
	}
	x.checkWorker(e, id.worker)
	return id
}

func (x *state) checkWorker(e *entries, wid uint32) {
	if e.bad || int(wid) >= len(x.workers.all) || x.workers.all[wid] == nil {
		e.fail()
	}
}

// replay makes the changes of a frame.
func (x *state) replay(b []byte) error {
	e := entries{b: b}
	before := ""
	for len(e.b) > 0 {
		switch kind := e.byte(); kind {
		case entryPut:
			before = x.replayPut(&e, before)
		case entryScope:
			x.replayScope(&e)
		case entryWorker:
			x.replayWorker(&e)
		case entryRemove:
			x.replayRemove(&e)
		case entryClear:
			x.clear()
		case entryExpire:
			if v := e.uint(); !e.bad {
				x.expire(x.aged(v))
			}
		case entryClearWorker, entryVanish:
			if wid := e.uint32(); x.knows(&e, wid) {
				x.clearWorker(wid, kind == entryVanish)
			}
		case entryAnnounce:
			wid, incarnation := e.uint32(), e.uint()
			if x.knows(&e, wid) {
				x.workers.at(wid).incarnation = incarnation
			}
		default:
			e.fail()
		}
	}
	if e.bad {
		return fmt.Errorf("a change that holds, of which the entries do not: %w", kvferry.ErrCorrupt)
	}
	return nil
}

func (x *state) knows(e *entries, wid uint32) bool {
	x.checkWorker(e, wid)
	return !e.bad
}

func (x *state) replayPut(e *entries, before string) string {
	flags := e.byte()
	id := e.numbers(x)
	r := index.Record{Tier: index.Tier(flags & tierMask), Pinned: flags&putPinned != 0}
	if r.Prefix = before; flags&putChained == 0 {
		r.Prefix = e.string()
	}
	r.Hash = e.string()
	r.Index, r.Tokens, r.Bytes, r.LastAccess = e.uint32(), e.uint32(), e.uint(), e.uint()
	if flags&putUsed != 0 {
		r.Refs, r.Group = e.uint32(), e.uint32()
	}
	if !r.Tier.Valid() || !x.room(perRecord+2*uint64(len(r.Prefix)+len(r.Hash))+uint64(len(x.workers.all))*perWorker) {
		e.fail()
	}
	if e.bad {
		return ""
	}
	if flags&putNoAdapter == 0 {
		r.Adapter = index.Named("")
	}
	x.put(id.scope, id.worker, &r)
	return r.Hash
}

func (x *state) replayRemove(e *entries) {
	flags := e.byte()
	id := e.numbers(x)
	m := index.Removal{
		Hash: e.string(), Tier: index.Tier(flags & tierMask), AnyAdapter: flags&removeAnyAdapter != 0, OneGroup: flags&removeOneGroup != 0,
	}
	if m.OneGroup {
		m.Group = e.uint32()
	}
	if !e.bad {
		m.Scope, m.Worker = x.scopes.at(id.scope).Scope, x.workers.at(id.worker).name
		x.remove(&m)
	}
}

func (x *state) replayScope(e *entries) {
	id := e.uint32()
	s := readScope(e)
	if was := x.scopes.byID(id); e.bad || was != nil && was.Scope == s {
		return
	}
	s = cloneScope(s)
	if !x.scopes.restore(id, s, &scope{Scope: s}, scopeOf, scopeUsed) {
		e.fail()
	}
}

func readScope(e *entries) (s index.Scope) {
	s.Model, s.Tokenizer = e.string(), e.string()
	if e.byte() != 0 {
		s.Adapter = index.Named(e.string())
	}
	s.Tenant = e.string()
	return s
}

func (x *state) replayWorker(e *entries) {
	id, name := e.uint32(), e.string()
	if was := x.workers.byID(id); e.bad || was != nil && was.name == name {
		return
	}
	name = strings.Clone(name)
	if !x.workers.restore(id, name, &worker{name: name}, workerName, workerUsed) {
		e.fail()
	}
}
