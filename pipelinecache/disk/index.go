package disk

import (
	"container/list"
	"time"

	"github.com/kvferry/kvferry/pipelinecache"
)

// index knows the artifacts of a directory with a budget, in the order in which
// they were used. Store.mu guards it.
type index struct {
	by    map[pipelinecache.Fingerprint]*list.Element
	order *list.List // of *item; what was used last is in front
	bytes int64
}

type item struct {
	f     pipelinecache.Fingerprint
	bytes int64
	// used is when that was; touched is when the file's times said so last, or
	// zero if nobody looked.
	used, touched time.Time
}

func newIndex() *index {
	return &index{by: map[pipelinecache.Fingerprint]*list.Element{}, order: list.New()}
}

func (x *index) len() int { return len(x.by) }

func (x *index) find(f pipelinecache.Fingerprint) *item {
	e := x.by[f]
	if e == nil {
		return nil
	}
	return itemOf(e)
}

// itemOf returns what an element holds; nothing else is ever put into a list.
func itemOf(e *list.Element) *item { return e.Value.(*item) } //nolint:forcetypeassert // see above

// use puts an artifact in front, with the length that its file has now.
func (x *index) use(f pipelinecache.Fingerprint, bytes int64, now time.Time) *item {
	e := x.by[f]
	if e == nil {
		e = x.order.PushFront(&item{f: f})
		x.by[f] = e
	}
	it := itemOf(e)
	x.bytes += bytes - it.bytes
	it.bytes, it.used = bytes, now
	x.order.MoveToFront(e)
	return it
}

// drop forgets an artifact and returns the length of its file.
func (x *index) drop(f pipelinecache.Fingerprint) int64 {
	e := x.by[f]
	if e == nil {
		return 0
	}
	delete(x.by, f)
	it := itemOf(e)
	x.order.Remove(e)
	x.bytes -= it.bytes
	return it.bytes
}

// oldest returns what was used least recently, or what follows after.
func (x *index) oldest(after *pipelinecache.Fingerprint) (item, bool) {
	e := x.order.Back()
	if after != nil {
		if last := x.by[*after]; last != nil {
			e = last.Prev()
		}
	}
	if e == nil {
		return item{}, false
	}
	return *itemOf(e), true
}
