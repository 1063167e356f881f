package main

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// smallestRun is the size from which runs have to reach the link's rate.
const smallestRun = 2 << 10

// measurePaths moves pages that are made of runs of one size by each path, in
// jobs of so and so many runs, beside a contiguous copy of as many bytes.
func measurePaths(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	// Twice, for what pages of odd sizes take more.
	host, err := b.pin(2 * b.scale.pathBytes)
	if err != nil {
		return err
	}
	spare, err := b.alloc(2 * b.scale.pathBytes)
	if err != nil {
		return err
	}
	m := pathMemory{host, spare}
	for _, perJob := range b.scale.jobRuns {
		for _, run := range b.scale.runBytes {
			for _, d := range []pager.Direction{pager.Out, pager.In} {
				if err := b.paths(m, run, perJob, d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pathMemory is what all paths copy to and from: taking it anew for each would
// take longer than to measure.
type pathMemory struct {
	host  []byte
	spare *cuda.Memory
}

// interleaved is a layout whose pages are cut into count runs that lie far from
// each other: [count][pages][run].
func interleaved(run int64, count, pages int) (*pager.Layout, error) {
	meta := pager.Meta{
		PageTokens: 1, Layers: uint32(count), KVHeads: 1, HeadDim: uint32(run / 2), Dtype: pager.BF16,
		Parts: []pager.Part{{Kind: pager.PartLatent, Bytes: int(run) * count, Form: pager.FormLatent}},
	}
	l := &pager.Layout{
		Meta: meta, Pages: pages,
		Regions: []pager.Region{{Bytes: run * int64(count) * int64(pages), Stride: run}},
		Runs:    [][]pager.Run{{{Bytes: run, Count: int64(count), LocalStride: run * int64(pages), CanonicalStride: run}}},
	}
	return l, l.Validate()
}

// shape says how many runs a page has, and how many pages there are.
func (b *bench) shape(run, perJob int64) (count, pages int) {
	runs := min(b.scale.pathBytes/run, b.scale.pathCopies)
	count = int(min(perJob, 32, runs))
	return count, int(runs) / count
}

// paths measures one size of runs one way.
func (b *bench) paths(m pathMemory, run, perJob int64, d pager.Direction) error {
	count, pages := b.shape(run, perJob)
	l, err := interleaved(run, count, pages)
	if err != nil {
		return err
	}
	with := fmt.Sprintf("%s, runs of %s, %d to a job", way(d), bytesText(run), perJob)
	best := &row{Part: b.part, What: "best of the paths", With: with}
	for _, path := range []gpu.Path{gpu.Direct, gpu.Staged, gpu.Plain} {
		r := &row{What: path.String(), With: with}
		err := b.measure(r, func(r *row) error { return b.path(m, r, l, path, int(perJob)/count, d) })
		if err != nil {
			return err
		}
		if len(r.Ratios) > 0 && (len(best.Ratios) == 0 || median(r.Ratios) > median(best.Ratios)) {
			best.Bytes, best.Unit, best.Samples, best.Ratios, best.Limit, best.Check = r.Bytes, r.Unit, r.Samples, r.Ratios, r.Limit, r.Check
			best.Note = r.What
		}
	}
	if len(best.Ratios) == 0 {
		best.Error, best.Missing = "no path was measured", true // their rows say why
	}
	// A job of few small runs cannot fill the link; the goal is about many.
	if run >= smallestRun && perJob == slices.Max(b.scale.jobRuns) {
		best.Goal = map[pager.Direction]goalID{pager.Out: goalOut, pager.In: goalIn}[d]
	}
	return b.journal.add(best)
}

// path measures one path.
func (b *bench) path(m pathMemory, r *row, l *pager.Layout, path gpu.Path, perJob int, d pager.Direction) error {
	w, err := b.world(l, gpu.Forced(path))
	if err != nil {
		return err
	}
	s, err := b.stream()
	if err != nil {
		return err
	}
	ids, frames := w.shuffled(), cut(m.host, l.Pages, l.Meta.PageBytes())
	spoil(frames)
	r.Bytes = int64(len(ids) * l.Meta.PageBytes())
	limit := contiguous(s, address(m.host), w.memory.Ptr(), r.Bytes)
	if d == pager.In {
		if err := w.move(pager.Out, ids, frames, max(1, perJob)); err != nil {
			return err
		}
		limit = contiguous(s, m.spare.Ptr(), address(m.host), r.Bytes)
		if err := b.wipe(w.memory); err != nil {
			return err
		}
	}
	took, err := b.turns(limit, w.moving(d, ids, frames, max(1, perJob)))
	if err != nil {
		return err
	}
	r.versus(took[1], took[0], "one contiguous copy")
	if d == pager.Out {
		r.checked(w.right(ids, frames))
	} else {
		r.checked(b.painted(w.memory))
	}
	return nil
}

func way(d pager.Direction) string {
	if d == pager.Out {
		return "device to host"
	}
	return "host to device"
}
