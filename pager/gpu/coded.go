package gpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// Link says as what pages cross the link.
type Link uint8

// The ways to cross it.
const (
	// LinkPlain moves pages as they are.
	LinkPlain Link = iota
	// LinkPlanes moves pages of bfloat16 values as package codec/planes codes
	// them, about two thirds of the bytes: on one side by kernels, on the other by
	// the processor, Config.Coders goroutines for each direction. Pages of other elements, and
	// of parts that do not divide into layers and tokens of one size, cross as they
	// are, and so do batches out until the first has arrived, by which the windows
	// are tuned.
	LinkPlanes
)

// coder is what is known of how pages are coded.
type coder struct {
	shape planes.Shape
	room  int64 // for the payloads of a batch
	// workers is how many goroutines code in each direction.
	workers int

	mu      sync.Mutex
	windows []planes.Params // nil: not known yet; replaced as a whole
	dull    uint64          // batches that hardly shrank
	tuner   planes.Tuner
}

// newCoder returns the coder that cfg wants for pages of m, or nil.
func newCoder(cfg *Config, m pager.Meta, batchPages int) (*coder, error) {
	if cfg.Link != LinkPlanes {
		return nil, nil //nolint:nilnil // nothing is coded
	}
	s, ok := shapeOf(m)
	if !ok {
		return nil, nil //nolint:nilnil // likewise
	}
	if n := len(cfg.Windows); n > 0 && n != s.Segments {
		return nil, fmt.Errorf("gpu: new: %d windows for %d parts of layers: %w", n, s.Segments, kvferry.ErrInvalid)
	}
	workers := cfg.Coders
	if workers == 0 {
		workers = min(DefaultCoders, runtime.GOMAXPROCS(0))
	}
	return &coder{shape: s, room: kernels.PlanesBytes(s, 0, batchPages), workers: workers, windows: slices.Clone(cfg.Windows)}, nil
}

// shapeOf returns pages of m as segments, one for each part and layer.
func shapeOf(m pager.Meta) (planes.Shape, bool) {
	rows := int(m.Layers) * int(m.PageTokens) // of a part
	if m.Dtype != pager.BF16 || rows == 0 || len(m.Parts) == 0 {
		return planes.Shape{}, false
	}
	for _, p := range m.Parts {
		if p.Bytes != m.Parts[0].Bytes || p.Bytes%(2*rows) != 0 {
			return planes.Shape{}, false
		}
	}
	s := planes.Shape{Segments: len(m.Parts) * int(m.Layers), Rows: int(m.PageTokens), Cols: m.Parts[0].Bytes / (2 * rows)}
	return s, s.Validate() == nil && kernels.PlanesBytes(s, 0, 1) < pager.MaxPageBytes
}

// current returns the windows, nil if there are none yet.
func (c *coder) current() []planes.Params {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.windows
}

// Windows returns the windows by which pages are coded for the link, one for
// each part and layer, for the Config of another Pager; nil if there are none.
func (p *Pager) Windows() []planes.Params {
	if p.cache.coder == nil {
		return nil
	}
	return slices.Clone(p.cache.coder.current())
}

// tunedPages is how many pages of a batch are looked at.
const tunedPages = 8

// learn tunes the windows by pages that crossed the link, if there are none or if
// they, coded as so many bytes, hardly shrank: by the 1st, 2nd, 4th, 8th ... such
// batch. Windows that do not fit cost bytes and nothing else.
func (c *coder) learn(pages [][]byte, coded uint64) {
	plain := uint64(len(pages)) * uint64(c.shape.Bytes())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.windows != nil {
		if coded < plain/8*7 {
			return
		}
		if c.dull++; c.dull&(c.dull-1) != 0 {
			return
		}
	}
	sample := make([][]byte, 0, tunedPages)
	for i := range min(len(pages), tunedPages) {
		sample = append(sample, pages[(2*i+1)*len(pages)/(2*min(len(pages), tunedPages))])
	}
	if windows, err := c.tuner.Tune(nil, c.shape, sample...); err == nil {
		c.windows = windows
	}
}

// codingRoom is what a lane needs to code; the host's side is pinned.
type codingRoom struct {
	payloads, places, windows, scratch, bad        cuda.Ptr
	hostPayloads, hostPlaces, hostWindows, hostBad []byte
}

// codingSizes are its offsets.
type codingSizes struct {
	payloads, places, windows, scratch, bad        int64
	hostPayloads, hostPlaces, hostWindows, hostBad int64
}

// take lays the room of a lane out.
func (c *coder) take(s *sizes, at *codingSizes, pages int) {
	places, windows, bad := int64(pages+1)*kernels.PlaceBytes, int64(c.shape.Segments)*kernels.WindowsBytes, int64(pages)*4
	at.payloads, at.places, at.windows = s.device.take(c.room), s.device.take(places), s.device.take(windows)
	at.scratch, at.bad = s.device.take(kernels.PlanesScratch(c.shape, pages)), s.device.take(bad)
	at.hostPayloads, at.hostPlaces = s.host.take(c.room), s.host.take(places)
	at.hostWindows, at.hostBad = s.host.take(windows), s.host.take(bad)
}

// cut cuts the room out of a way's memory.
func (c *coder) cut(at *codingSizes, base cuda.Ptr, view func(from, bytes int64) []byte, pages int) codingRoom {
	return codingRoom{
		payloads: base + cuda.Ptr(at.payloads), places: base + cuda.Ptr(at.places), windows: base + cuda.Ptr(at.windows),
		scratch: base + cuda.Ptr(at.scratch), bad: base + cuda.Ptr(at.bad),
		hostPayloads: view(at.hostPayloads, c.room), hostPlaces: view(at.hostPlaces, int64(pages+1)*kernels.PlaceBytes),
		hostWindows: view(at.hostWindows, int64(c.shape.Segments)*kernels.WindowsBytes), hostBad: view(at.hostBad, int64(pages)*4),
	}
}

// planes returns what the kernels work on in a batch of n pages.
func (w *way) planes(l *lane, n int) kernels.Planes {
	c := w.c
	return kernels.Planes{
		Shape: c.coder.shape, Count: n, Pages: l.staging, Stride: c.geometry.pageBytes, Payloads: l.coding.payloads,
		PayloadBytes: c.coder.room, Places: l.coding.places, Blocks: c.blocks,
	}
}

// codes returns the windows by which a batch is to be coded, nil for one that
// crosses the link as it is. What goes to the device can be looked at before.
func (w *way) codes(s *slot) []planes.Params {
	c := w.c.coder
	if c == nil {
		return nil
	}
	windows := c.current()
	if windows == nil && w.direction == pager.In {
		c.learn(s.work.job.Frames[s.from:s.from+s.n], 0)
		windows = c.current()
	}
	return windows
}

// buildCoded adds the steps of a batch that crosses the link coded.
func (w *way) buildCoded(s *slot, ids []pager.PageID, windows []planes.Params) error {
	s.coded = true
	s.lane.held = s
	if w.direction == pager.In {
		return w.buildCodedIn(s, ids, windows)
	}
	return w.buildCodedOut(s, ids, windows)
}

// buildCodedOut gathers and encodes, and asks where the payloads lie. How many
// bytes they are is known when that is there.
func (w *way) buildCodedOut(s *slot, ids []pager.PageID, windows []planes.Params) error {
	c, l := w.c, s.lane
	r := &l.coding
	mem := r.hostWindows[:0]
	for _, p := range windows {
		mem = kernels.AppendWindows(mem, p)
	}
	w.link(cuda.Copy{Dst: r.windows, Src: address(mem), Bytes: uint64(len(mem))})
	pages := w.table(s, ids)
	if err := w.order(s, ids); err != nil {
		return err
	}
	if err := w.kernelErr(c.runs.Gather(&w.queue, pages)); err != nil {
		return err
	}
	if err := c.kernels.EncodePlanes(&w.queue, w.planes(l, s.n), r.windows, r.scratch); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	c.counts.launches.Add(launchesToEncode)
	w.link(cuda.Copy{Dst: address(r.hostPlaces), Src: r.places, Bytes: uint64(s.n+1) * kernels.PlaceBytes})
	return nil
}

// launchesToEncode is how many kernels EncodePlanes launches.
const launchesToEncode = 3

// buildCodedIn encodes on the host, and decodes and scatters there.
func (w *way) buildCodedIn(s *slot, ids []pager.PageID, windows []planes.Params) error {
	c, l, k := w.c, s.lane, s.work
	r := &l.coding
	w.coding, w.windows = s, windows
	if err := w.crew.run(s.n, w.encode); err != nil {
		return err
	}
	w.copies = w.copies[:0]
	p := w.planes(l, s.n)
	s.bytes = 0
	for i := range w.crew.coders { // each piece lies together
		first, end := w.crew.split(s.n, i), w.crew.split(s.n, i+1)
		if first == end {
			continue
		}
		from, last := int64(kernels.PlaceAt(r.hostPlaces, first).Offset), kernels.PlaceAt(r.hostPlaces, end-1)
		to := (int64(last.Offset) + int64(last.Bytes) + placeAlign - 1) &^ (placeAlign - 1)
		w.copies = append(w.copies, copyOf(pager.In, r.payloads+cuda.Ptr(from), address(r.hostPayloads)+cuda.Ptr(from), to-from))
		s.bytes += int(to - from)
		p.PayloadBytes = to
	}
	w.addCopies(cuda.Batch)
	c.coder.learn(k.job.Frames[s.from:s.from+s.n], uint64(s.bytes))
	w.link(cuda.Copy{Dst: r.places, Src: address(r.hostPlaces), Bytes: uint64(s.n) * kernels.PlaceBytes})
	pages := w.table(s, ids)
	if err := c.kernels.DecodePlanes(&w.queue, p, r.bad); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	c.counts.launches.Add(1)
	if err := w.order(s, ids); err != nil {
		return err
	}
	if err := w.kernelErr(c.runs.Scatter(&w.queue, pages)); err != nil {
		return err
	}
	w.link(cuda.Copy{Dst: address(r.hostBad), Src: r.bad, Bytes: uint64(s.n) * 4})
	return nil
}

// encodePiece encodes pages of a batch in, one behind the other from where those
// before them end at the latest.
func (w *way) encodePiece(h *hostCoder, p piece) error {
	s, c := w.coding, w.c.coder
	r := &s.lane.coding
	at := kernels.PlanesBytes(c.shape, 0, p.first)
	for i := p.first; i < p.end; i++ {
		most := kernels.PlanesBytes(c.shape, 0, i+1)
		payload, err := h.encoder.Append(r.hostPayloads[at:at:most], s.work.job.Frames[s.from+i], c.shape, w.windows)
		if err != nil {
			return fmt.Errorf("encode page %d: %w", s.work.job.Pages[s.from+i], err)
		}
		end := at + int64(len(payload))
		if end > most { // the encoder had to leave the pinned memory
			return fmt.Errorf("a payload of %d bytes: %w", len(payload), kvferry.ErrInvalid)
		}
		kernels.PutPlace(r.hostPlaces, i, kernels.Place{Offset: uint64(at), Bytes: uint32(len(payload))})
		at = (end + placeAlign - 1) &^ (placeAlign - 1)
		clear(r.hostPayloads[end:at])
	}
	return nil
}

// placeAlign is what a payload's place has to be a multiple of.
const placeAlign = 16

// receiveCoded takes what a coded batch brought. again tells that the payloads
// are on their way.
func (w *way) receiveCoded(s *slot) (again bool, err error) {
	r := &s.lane.coding
	ids := s.work.job.Pages[s.from : s.from+s.n]
	if w.direction == pager.In {
		for i, id := range ids {
			if [4]byte(r.hostBad[4*i:]) != [4]byte{} {
				return false, fmt.Errorf("page %d did not arrive as it was coded, its content is unspecified: %w", id, kvferry.ErrCorrupt)
			}
		}
		w.c.countCoded(s.n, s.bytes)
		return false, nil
	}
	total, err := payloadsOf(r.hostPlaces, s.n, w.c.coder.room)
	if err != nil {
		return false, err
	}
	if !s.fetching {
		s.fetching = true
		w.copies = append(w.copies[:0], copyOf(pager.Out, r.payloads, address(r.hostPayloads), total))
		return w.fetch(s)
	}
	w.coding = s
	if err := w.crew.run(s.n, w.decode); err != nil {
		return false, err
	}
	w.c.countCoded(s.n, int(total))
	w.c.coder.learn(s.work.job.Frames[s.from:s.from+s.n], uint64(total))
	return false, nil
}

// decodePiece decodes pages of a batch out. The way's own goroutine sees in
// between that the link has something to do.
func (w *way) decodePiece(h *hostCoder, p piece) error {
	s := w.coding
	r := &s.lane.coding
	for i := p.first; i < p.end; i++ {
		place := kernels.PlaceAt(r.hostPlaces, i)
		if err := h.decoder.Decode(s.work.job.Frames[s.from+i], r.hostPayloads[place.Offset:][:place.Bytes]); err != nil {
			// A payload of ours that is of another version, or of another kind, is
			// damaged, too: the error is not passed on as one of its own.
			return fmt.Errorf("page %d did not arrive as it was coded, %s: %w", s.work.job.Pages[s.from+i], err.Error(), kvferry.ErrCorrupt)
		}
		if p.index == 0 {
			w.fetchAhead(s)
		}
	}
	return nil
}

// fetchAhead lets the payloads of the batches behind s cross the link as soon as
// their lengths are there.
func (w *way) fetchAhead(s *slot) {
	for i := slices.Index(w.flying, s) + 1; i < len(w.flying); i++ {
		o := w.flying[i]
		if !o.coded || o.fetching || o.err != nil || o.work.stopped || !w.done(o) {
			continue
		}
		if _, err := w.receiveCoded(o); errors.Is(err, errUnmarked) {
			w.c.lose(err)
			o.unmarked = true
			w.fence(o, i, err)
			return
		} else if err != nil {
			o.err = err
		}
	}
}

// payloadsOf returns the length of n payloads, and checks what the device says
// before anybody goes by it.
func payloadsOf(places []byte, n int, room int64) (total int64, err error) {
	end := kernels.PlaceAt(places, n).Offset
	at := uint64(0)
	for i := range n {
		p := kernels.PlaceAt(places, i)
		next := kernels.PlaceAt(places, i+1).Offset
		if p.Offset != at || next < at || next > end || uint64(p.Bytes) > next-at {
			return 0, fmt.Errorf("the device tells of a payload %d of %d bytes at %d, the next one at %d of %d: %w",
				i, p.Bytes, p.Offset, next, end, kvferry.ErrCorrupt)
		}
		at = next
	}
	if end > uint64(room) || end == 0 {
		return 0, fmt.Errorf("the device tells of %d bytes of payloads in %d: %w", end, room, kvferry.ErrCorrupt)
	}
	return int64(end), nil
}

// countCoded counts pages that cross the link as so many bytes.
func (c *cache) countCoded(pages, bytes int) {
	c.counts.codedPages.Add(uint64(pages))
	c.counts.codedBytes.Add(uint64(bytes))
	c.counts.codedFrom.Add(uint64(pages) * uint64(c.geometry.pageBytes))
}
