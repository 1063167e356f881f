package copies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// world is a cache on the device whose pages are single runs, each with a gap
// behind it so that no two of them are one, a pager for each way, and pinned
// frames one after the other.
type world struct {
	runBytes int64
	memory   *cuda.Memory
	pinned   *cuda.Pinned
	stream   *cuda.Stream
	// begin and end are around what is timed on the stream.
	begin, end *cuda.Event
	pagers     map[gpu.Path]*gpu.Pager
	movers     map[gpu.Path]pager.Mover
	ids        []pager.PageID
	frames     [][]byte
	queue      cuda.Submission
}

// world makes a world of so many runs.
func (b *bench) world(runBytes int64, runs int) (*world, error) {
	w := &world{runBytes: runBytes, pagers: map[gpu.Path]*gpu.Pager{}, movers: map[gpu.Path]pager.Mover{}}
	if err := w.open(b, runs); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) open(b *bench, runs int) (err error) {
	l := layout(w.runBytes, runs)
	if w.memory, err = b.device.Alloc(l.Regions[0].Bytes); err != nil {
		return err
	}
	if w.pinned, err = b.device.Pin(w.runBytes*int64(runs), cuda.PinOptions{}); err != nil {
		return err
	}
	if w.stream, err = b.device.NewStream(cuda.StreamOptions{}); err != nil {
		return err
	}
	if w.begin, err = b.device.NewEvent(cuda.EventOptions{Timing: true}); err != nil {
		return err
	}
	if w.end, err = b.device.NewEvent(cuda.EventOptions{Timing: true}); err != nil {
		return err
	}
	// The copy of one piece reads the gaps, too.
	w.queue.Fill(w.memory.Ptr(), 0, w.memory.Bytes())
	if _, err := w.stream.Submit(&w.queue); err != nil {
		return err
	}
	if err := w.stream.Synchronize(); err != nil {
		return err
	}
	rest := w.pinned.Bytes()
	for i := range runs {
		w.ids = append(w.ids, pager.PageID(i))
		w.frames, rest = append(w.frames, rest[:w.runBytes:w.runBytes]), rest[w.runBytes:]
	}
	for _, way := range ways() {
		p, err := gpu.New(gpu.Config{
			Device: b.device, Kernels: b.kernels, Layout: l, Regions: []cuda.Ptr{w.memory.Ptr()},
			Engine: &still{pages: w.ids}, Paths: gpu.Forced(way),
		})
		if err != nil {
			return err
		}
		w.pagers[way] = p
		m, ok := p.View().(pager.Mover)
		if !ok {
			return fmt.Errorf("the pager of device memory moves nothing: %w", kvferry.ErrUnsupported)
		}
		w.movers[way] = m
	}
	return nil
}

// layout describes pages of one run and a gap as long.
func layout(runBytes int64, pages int) *pager.Layout {
	return &pager.Layout{
		Meta: pager.Meta{
			PageTokens: 1, Layers: 1, KVHeads: 1, HeadDim: uint32(runBytes), Dtype: pager.Opaque,
			Parts: []pager.Part{{Kind: pager.PartKV, Bytes: int(runBytes), Form: "bench"}},
		},
		Pages:   pages,
		Regions: []pager.Region{{Bytes: 2 * runBytes * int64(pages), Stride: 2 * runBytes}},
		Runs:    [][]pager.Run{{{Bytes: runBytes, Count: 1}}},
	}
}

// move copies the first runs one way and waits for them.
func (w *world) move(ctx context.Context, way gpu.Path, d pager.Direction, runs int) error {
	m := w.movers[way]
	t, err := m.Submit(ctx, pager.Job{Direction: d, Pages: w.ids[:runs], Frames: w.frames[:runs]})
	if err != nil {
		return err
	}
	c, err := m.Wait(context.WithoutCancel(ctx), t) // memory in flight is not left behind
	if err != nil {
		return err
	}
	return c.Err
}

// check moves a pattern in by each way and out by each other way.
func (w *world) check(ctx context.Context) error {
	want := make([]byte, w.runBytes)
	for k, in := range ways() {
		for i, f := range w.frames {
			pattern(f, i, k)
		}
		if err := w.move(ctx, in, pager.In, len(w.ids)); err != nil {
			return err
		}
		for _, out := range ways() {
			clear(w.pinned.Bytes())
			if err := w.move(ctx, out, pager.Out, len(w.ids)); err != nil {
				return err
			}
			for i, f := range w.frames {
				if pattern(want, i, k); !bytes.Equal(want, f) {
					return fmt.Errorf("run %d went in %v and came out %v with other bytes: %w", i, in, out, kvferry.ErrCorrupt)
				}
			}
		}
	}
	return nil
}

// pattern fills dst with bytes that depend on a run, a round and the position.
func pattern(dst []byte, run, round int) {
	for i := range dst {
		dst[i] = byte(i*7 + i>>8 + run*31 + run>>8 + round*101 + 1)
	}
}

// close gives everything back that was got. What a copy without a known end may
// still touch stays.
func (w *world) close() error {
	var errs []error
	for _, p := range w.pagers {
		errs = append(errs, p.Close())
	}
	if err := errors.Join(errs...); errors.Is(err, kvferry.ErrUnknownOutcome) {
		return err
	}
	for _, e := range []*cuda.Event{w.begin, w.end} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	if w.stream != nil {
		errs = append(errs, w.stream.Close())
	}
	if w.pinned != nil {
		errs = append(errs, w.pinned.Close())
	}
	if w.memory != nil {
		errs = append(errs, w.memory.Free())
	}
	return errors.Join(errs...)
}

// still is an engine that stands still with all its pages in use.
type still struct{ pages []pager.PageID }

func (*still) Pause(context.Context) error  { return nil }
func (*still) Resume(context.Context) error { return nil }

func (s *still) OccupiedPages(context.Context) ([]pager.PageID, error) {
	return slices.Clone(s.pages), nil
}

func (*still) LogicalSeqs(context.Context) ([]pager.LogicalSeq, error) { return nil, nil }

func (*still) AllocatePages(context.Context, int) ([]pager.PageID, error) {
	return nil, fmt.Errorf("bench: allocate pages: %w", kvferry.ErrOutOfMemory)
}

func (*still) InstallLogicalSeqs(context.Context, []pager.LogicalSeq) error { return nil }
