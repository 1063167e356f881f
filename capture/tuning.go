package capture

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/pager"
)

// The pages from which the windows of a part are found, by the number of those
// that came before. What begins a text is unlike the rest of it, so there are
// some of elsewhere; they are an odd number apart, lest they all begin a block
// of something. More pages than these gain nothing.
var tunedAt = [...]int64{0, 3, 18, 65}

// tunedBytes bounds the memory for the pages that are kept of a part. The page
// at hand is used whatever its length.
const tunedBytes = 2 << 20

// tuning finds the windows by which a codec knows the parts of pages, from
// pages that are on their way into a store. It does nothing where no codec asks
// for them.
type tuning struct {
	known *codec.Tuning
	parts [][]*tunedPart // by group and part; nil for those that are not of bf16
}

// tunedPart is a part of the pages of a group.
type tunedPart struct {
	known *codec.Tuning
	name  string
	shape planes.Shape
	met   atomic.Int64

	mu    sync.Mutex
	tuner *planes.Tuner
	kept  [][]byte
	times int // that it was tuned
}

// newTuning describes the parts of groups.
func newTuning(groups []manifest.Group) *tuning {
	t := &tuning{known: new(codec.Tuning)}
	for i := range groups {
		m := &groups[i].Meta
		parts := make([]*tunedPart, len(m.Parts))
		for p := range m.Parts {
			s, ok := shapeOf(m, p)
			if !ok || t.known.Expect(elemOf(m.Dtype), s) != nil || m.Dtype != pager.BF16 {
				continue
			}
			parts[p] = &tunedPart{known: t.known, shape: s, name: strconv.Itoa(i) + "." + strconv.Itoa(p)}
		}
		t.parts = append(t.parts, parts)
	}
	return t
}

// elemOf returns a type as encoders know it.
func elemOf(d pager.Dtype) codec.Elem {
	switch d {
	case pager.BF16:
		return codec.BF16
	case pager.F16:
		return codec.F16
	case pager.FP8E4M3:
		return codec.FP8E4M3
	case pager.FP8E5M2:
		return codec.FP8E5M2
	}
	return codec.Bytes
}

// shapeOf returns the shape of a part, if encoders know its elements: its layers
// one behind the other, each a row of all heads for each token. A part of which
// only the engine knows the order is taken for one of these; if it is not, it
// shrinks less.
func shapeOf(m *pager.Meta, part int) (planes.Shape, bool) {
	s := planes.Shape{Segments: int(m.Layers), Rows: int(m.PageTokens)}
	bytes := int64(m.Parts[part].Bytes)
	row := int64(m.Layers) * int64(m.PageTokens) * int64(m.Dtype.Bytes())
	if elemOf(m.Dtype) == codec.Bytes || m.Parts[part].Kind == pager.PartScale || row == 0 || bytes == 0 || bytes%row != 0 {
		return s, false
	}
	s.Cols = int(bytes / row)
	return s, s.Validate() == nil
}

// hint returns what encoders are told.
func (t *tuning) hint(groups []manifest.Group, mode codec.Mode) codec.Hint {
	m := &groups[0].Meta
	return codec.Hint{
		Mode:      mode,
		Elem:      elemOf(m.Dtype),
		ElemBytes: m.Dtype.Bytes(),
		RowElems:  int(m.KVHeads) * int(m.HeadDim),
		Segments:  int(m.Layers),
		Tuning:    t.known,
	}
}

// meet looks at a part of a page before it is stored. It is called for all of
// them, from several goroutines, and costs next to nothing for almost all.
func (t *tuning) meet(group, part int, plain []byte) {
	if p := t.parts[group][part]; p != nil && t.known.Wanted() {
		p.meet(plain)
	}
}

func (p *tunedPart) meet(plain []byte) {
	if p.met.Load() > tunedAt[len(tunedAt)-1] || !slices.Contains(tunedAt[:], p.met.Add(1)-1) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tuner == nil {
		p.tuner = new(planes.Tuner)
	}
	pages := append(p.kept, plain)
	params, err := p.tuner.Tune(nil, p.shape, pages...)
	if err == nil {
		// If there are too many parts of one length the first ones' windows
		// serve all.
		_ = p.known.Add(p.name, p.shape, params, pages...)
	}
	if p.times++; p.times == len(tunedAt) {
		p.kept, p.tuner = nil, nil
	} else if (len(p.kept)+1)*len(plain) <= tunedBytes {
		p.kept = append(p.kept, slices.Clone(plain))
	}
}
