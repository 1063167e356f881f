package memory

import (
	"strings"
	"sync"
)

// longs are the strings that are too long for a slab, each once. Their numbers
// are never used again.
type longs struct {
	mu   sync.RWMutex
	next uint64
	ids  map[string]uint64
	text map[uint64]*long
}

type long struct {
	s           string
	holds, uses int
}

func (l *longs) init() {
	l.ids, l.text = map[string]uint64{}, map[uint64]*long{}
}

// hold returns the number of a string and keeps it.
func (l *longs) hold(s string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ok := l.ids[s]
	if !ok {
		l.next++
		id, s = l.next, strings.Clone(s)
		l.ids[s], l.text[id] = id, &long{s: s}
	}
	l.text[id].holds++
	return id
}

// release undoes a hold.
func (l *longs) release(id uint64) { l.count(id, -1, 0) }

// count adds holds and uses by nodes.
func (l *longs) count(id uint64, holds, uses int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.text[id]
	t.holds += holds
	t.uses += uses
	l.reapLocked(id, t)
}

func (l *longs) reapLocked(id uint64, t *long) {
	if t.holds+t.uses == 0 {
		delete(l.ids, t.s)
		delete(l.text, id)
	}
}

// clear undoes all uses.
func (l *longs) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, t := range l.text {
		t.uses = 0
		l.reapLocked(id, t)
	}
}

// find returns the number of a string, or 0.
func (l *longs) find(s string) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.ids[s]
}

// get returns a string, or "" if there is none any more.
func (l *longs) get(id uint64) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t := l.text[id]; t != nil {
		return t.s
	}
	return ""
}
