package feed

import (
	"unsafe"

	"github.com/kvferry/kvferry/index"
)

// copied is a change that is kept.
type copied struct {
	change *index.Change
	bytes  int // that it takes
}

// clone copies a change with its strings, so that what is kept holds no buffer
// that a caller cut its strings from.
func clone(c *index.Change) copied {
	k := keeper{buf: make([]byte, 0, stringBytes(c))}
	d := *c
	d.Worker = k.keep(c.Worker, "")
	d.Records = append([]index.Record(nil), c.Records...)
	d.Removals = append([]index.Removal(nil), c.Removals...)
	var scope index.Scope
	worker := ""
	for i := range d.Records {
		r := &d.Records[i]
		scope = k.scope(&r.Scope, &scope)
		r.Scope, r.Prefix, r.Hash = scope, k.keep(r.Prefix, ""), k.keep(r.Hash, "")
		worker = k.keep(r.Worker, worker)
		r.Worker = worker
	}
	for i := range d.Removals {
		r := &d.Removals[i]
		scope = k.scope(&r.Scope, &scope)
		r.Scope, r.Hash = scope, k.keep(r.Hash, "")
		worker = k.keep(r.Worker, worker)
		r.Worker = worker
	}
	bytes := int(unsafe.Sizeof(d)) + cap(k.buf) + k.more +
		cap(d.Records)*int(unsafe.Sizeof(index.Record{})) + cap(d.Removals)*int(unsafe.Sizeof(index.Removal{}))
	return copied{&d, bytes}
}

// stringBytes is how much the strings of a change need at most, without those
// that are usually the same from row to row.
func stringBytes(c *index.Change) int {
	n := len(c.Worker)
	for i := range c.Records {
		n += len(c.Records[i].Prefix) + len(c.Records[i].Hash)
	}
	for i := range c.Removals {
		n += len(c.Removals[i].Hash)
	}
	return n + 256
}

// keeper cuts copies of strings from few buffers.
type keeper struct {
	buf  []byte
	more int // bytes of strings that did not fit
}

// keep returns a copy of s, or last if that is the same.
func (k *keeper) keep(s, last string) string {
	switch {
	case s == last:
		return last
	case len(k.buf)+len(s) > cap(k.buf):
		k.more += len(s)
		return string([]byte(s))
	}
	at := len(k.buf)
	k.buf = append(k.buf, s...)
	return unsafe.String(unsafe.SliceData(k.buf[at:]), len(s)) // nobody changes these bytes any more
}

func (k *keeper) scope(s, last *index.Scope) index.Scope {
	if *s == *last {
		return *last
	}
	c := index.Scope{Model: k.keep(s.Model, last.Model), Tokenizer: k.keep(s.Tokenizer, last.Tokenizer), Tenant: k.keep(s.Tenant, last.Tenant)}
	if name, ok := s.Adapter.Name(); ok {
		c.Adapter = index.Named(k.keep(name, ""))
	}
	return c
}

// copyInto makes dst a copy of c that shares its strings alone.
func copyInto(dst, c *index.Change) {
	records, removals := dst.Records[:0], dst.Removals[:0]
	*dst = *c
	dst.Records = append(records, c.Records...)
	dst.Removals = append(removals, c.Removals...)
}
