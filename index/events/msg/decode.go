package msg

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Decode reads a payload. The batch refers to it until the next Decode: it must
// not change. A payload that is no batch is ErrCorrupt, and the batch has no
// events then.
func (b *Batch) Decode(payload []byte) error {
	*b = Batch{Rank: -1, Events: b.Events[:0], payload: payload}
	if len(payload) > MaxPayloadBytes {
		return fmt.Errorf("events: payload of %d bytes, at most %d: %w", len(payload), MaxPayloadBytes, kvferry.ErrCorrupt)
	}
	r := reader{b: payload}
	if b.decode(&r) && r.at == len(payload) {
		return nil
	}
	at := r.at
	*b = Batch{Rank: -1, Events: b.Events[:0]}
	return fmt.Errorf("events: payload of %d bytes is no batch of events, see about byte %d: %w", len(payload), at, kvferry.ErrCorrupt)
}

func (b *Batch) decode(r *reader) bool {
	if isMap(r.peek()) {
		return b.decodeMap(r)
	}
	n, ok := r.array()
	if !ok || n < 2 || !b.field(r, "ts") || !b.field(r, "events") {
		return false
	}
	if n == 2 {
		return true
	}
	return b.field(r, "data_parallel_rank") && r.skip(n-3)
}

// decodeMap reads a batch that is a map, which no engine sends yet: events took
// that step already.
func (b *Batch) decodeMap(r *reader) bool {
	n, ok := r.mapping()
	had := false
	for range n {
		name, isText := r.text()
		if !ok || !isText || !b.field(r, string(name)) {
			return false
		}
		had = had || string(name) == "events"
	}
	return ok && had
}

func (b *Batch) field(r *reader, name string) (ok bool) {
	switch name {
	case "ts":
		if !r.nothing() {
			b.Seconds, ok = r.number()
			return ok
		}
	case "data_parallel_rank":
		if !r.nothing() {
			v, okay := r.uint32()
			b.Rank = int(v)
			return okay
		}
	case "events":
		n, okay := r.array()
		for i := 0; okay && i < n; i++ {
			okay = b.event(r)
		}
		return okay
	default:
		return r.skip(1)
	}
	return true
}

// event reads one event and keeps it if it is known.
func (b *Batch) event(r *reader) bool {
	var e Event
	var ok bool
	if isMap(r.peek()) {
		ok = e.named(r)
	} else {
		ok = e.positional(r)
	}
	switch {
	case !ok:
		return false
	case e.Kind == 0:
		b.Unknown++
		return true
	case e.Kind != Cleared && e.hashes == 0:
		return false
	}
	b.Blocks += int(e.Hashes)
	b.Events = append(b.Events, e)
	return true
}

// named reads an event that is a map. What its fields are depends on the tag, so
// that is looked for first; it nearly always is the first.
func (e *Event) named(r *reader) bool {
	n, ok := r.mapping()
	if !ok || !e.tag(*r, n) {
		return false
	}
	for range n {
		name, isText := r.text()
		if !isText {
			return false
		}
		f := fOther
		if e.Kind == Stored || e.Kind == Removed {
			f = fieldOf(name)
		}
		if !e.read(r, f) {
			return false
		}
	}
	return true
}

// tag finds the tag among n pairs.
func (e *Event) tag(r reader, n int) bool {
	if n > 0 && len(r.b)-r.at > 5 && string(r.b[r.at:r.at+5]) == "\xa4type" {
		r.at += 5
		return e.read(&r, fType)
	}
	for range n {
		name, ok := r.text()
		if !ok {
			return false
		}
		if string(name) == "type" {
			return e.read(&r, fType)
		}
		if !r.skip(1) {
			return false
		}
	}
	return false
}

// positional reads an event that is an array.
func (e *Event) positional(r *reader) bool {
	n, ok := r.array()
	if !ok || n == 0 || !e.read(r, fType) {
		return false
	}
	order := positions[e.Kind]
	for i := range n - 1 {
		f := fOther
		if i < len(order) {
			f = order[i]
		}
		if !e.read(r, f) {
			return false
		}
	}
	return true
}
