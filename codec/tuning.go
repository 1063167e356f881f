package codec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
)

// Tuning is what encoders know of the data beforehand: which shapes its blobs
// have, and, of bf16, sets of windows that fit them. Encoders find a shape by a
// blob's length and take, of the sets for it, the one that fits the blob best;
// so the kinds of data that have one shape, such as keys and values, or each
// layer's, have a set each. While a shape has no set, encoders look for windows in each blob anew,
// which takes longer and fits less well.
//
// A Tuning is safe for concurrent use and may be added to while encoders use
// it; they take no lock. Its zero value knows nothing. What was coded with it
// does not need it to be decoded.
type Tuning struct {
	mu     sync.Mutex // of those who add
	known  atomic.Pointer[tuned]
	wanted atomic.Bool
}

// tuned is what a Tuning knew at a time, by the length of blobs. It is not
// changed.
type tuned map[int][]set

// set are windows that fit blobs of a shape; without any it only says that
// there are such blobs.
type set struct {
	name   string
	elem   Elem
	shape  planes.Shape
	params []planes.Params
	// profile is that of blobs which they fit, if profiled.
	profiled bool
	profile  profile
}

// like reports whether both are of blobs of one kind.
func (x *set) like(o *set) bool { return x.elem == o.elem && x.shape == o.shape }

// maxSets bounds the sets of blobs of one length, because all are looked through
// for every blob: enough for engines with a KV group for each layer.
const maxSets = 512

// Expect says that there are blobs of shape s, of elements e. What cannot be,
// and Bytes, are ErrInvalid.
func (t *Tuning) Expect(e Elem, s planes.Shape) error { return t.put(set{elem: e, shape: s}) }

// Add adds windows for blobs of bf16 of shape s: one for each segment, or one for all;
// they are kept, not copied. Of sets that came with blobs which they fit, like,
// only those are tried on a blob whose like are most like it: give them where
// there are many sets, of which each would take its time. A set of the same name
// and shape is replaced. What does not fit the shape is ErrInvalid, and so are too
// many sets.
func (t *Tuning) Add(name string, s planes.Shape, params []planes.Params, like ...[]byte) error {
	if len(params) != 1 && len(params) != s.Segments {
		return fmt.Errorf("codec: %d windows for %d segments, not 1 or as many: %w", len(params), s.Segments, kvferry.ErrInvalid)
	}
	x := set{name: name, elem: BF16, shape: s, params: params}
	if s.Validate() == nil && len(like) > 0 {
		for i := range like {
			if len(like[i]) != s.Bytes() {
				return fmt.Errorf("codec: a blob of %d bytes to be like for a shape of %d: %w", len(like[i]), s.Bytes(), kvferry.ErrInvalid)
			}
		}
		x.profiled, x.profile = true, profileOf(s, like...)
	}
	return t.put(x)
}

func (t *Tuning) put(x set) error {
	if err := x.shape.Validate(); err != nil {
		return fmt.Errorf("codec: tuning: %w", err)
	}
	if _, ok := x.elem.elements(); !ok {
		return fmt.Errorf("codec: tuning of elements %d: %w", x.elem, kvferry.ErrInvalid)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := tuned{}
	if old := t.known.Load(); old != nil {
		next = maps.Clone(*old)
	}
	n := x.elem.bytesOf(x.shape)
	sets := slices.DeleteFunc(slices.Clone(next[n]), func(o set) bool {
		// Windows take the place of those of their name, and of the mere shape.
		return o.like(&x) && (o.name == x.name && len(x.params) > 0 || len(o.params) == 0)
	})
	if len(x.params) > 0 || !slices.ContainsFunc(sets, func(o set) bool { return o.like(&x) }) {
		sets = append(sets, x)
	}
	if len(sets) > maxSets {
		return fmt.Errorf("codec: more than %d sets of windows for blobs of %d bytes: %w", maxSets, n, kvferry.ErrInvalid)
	}
	// The order in which they were added does not matter for what is coded.
	slices.SortFunc(sets, func(a, b set) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.elem, b.elem), cmp.Compare(a.shape.Cols, b.shape.Cols), cmp.Compare(a.shape.Rows, b.shape.Rows))
	})
	next[n] = sets
	t.known.Store(&next)
	return nil
}

// Wanted reports whether an encoder has asked for windows: whether there are
// blobs of bf16 of an expected shape, and a store that codes them by windows.
func (t *Tuning) Wanted() bool { return t.wanted.Load() }

// want notes that windows are asked for.
func (t *Tuning) want() {
	if !t.wanted.Load() { // a store would be seen by all processors
		t.wanted.Store(true)
	}
}

// find returns what is known of blobs of n bytes.
func (t *Tuning) find(n int) []set {
	if t == nil {
		return nil
	}
	known := t.known.Load()
	if known == nil {
		return nil
	}
	return (*known)[n]
}
