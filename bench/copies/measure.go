package copies

import (
	"context"
	"errors"
	"slices"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// bench is what all lengths of runs share.
type bench struct {
	o       Options
	device  *cuda.Device
	kernels *kernels.Set
}

// directions are the ways that bytes go, and what they are called.
func directions() []struct {
	d    pager.Direction
	name string
} {
	return []struct {
		d    pager.Direction
		name string
	}{{pager.Out, "out"}, {pager.In, "in"}}
}

// length measures all numbers of runs of one length.
func (b *bench) length(ctx context.Context, runBytes int64) (points []Point, err error) {
	if b.o.Progress != nil {
		b.o.Progress(runBytes)
	}
	most := int64(0)
	for _, n := range b.o.Runs {
		if n*runBytes <= b.o.MaxBytes {
			most = n
		}
	}
	if most == 0 {
		return nil, nil
	}
	w, err := b.world(runBytes, apart*int(most))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.check(ctx); err != nil {
		return nil, err
	}
	for _, dir := range directions() {
		for _, n := range b.o.Runs {
			if n > most {
				break
			}
			p := Point{Direction: dir.name, RunBytes: runBytes, Runs: n}
			if err := w.measure(ctx, dir.d, int(n), &p, b.o); err != nil {
				return nil, err
			}
			points = append(points, p)
		}
	}
	return points, nil
}

// measure times the ways and the link in turns.
func (w *world) measure(ctx context.Context, d pager.Direction, runs int, p *Point, o Options) error {
	samples := map[gpu.Path][]float64{}
	var link []float64
	for range o.Rounds {
		for _, way := range ways() {
			ns, err := w.flow(ctx, way, d, runs, o.Each)
			if err != nil {
				return err
			}
			samples[way] = append(samples[way], ns)
		}
		ns, err := w.link(d, int64(runs)*p.RunBytes, o.Each)
		if err != nil {
			return err
		}
		link = append(link, ns)
	}
	for _, way := range ways() {
		*p.of(way) = median(samples[way])
	}
	p.Link, p.Best = median(link), p.best()
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
