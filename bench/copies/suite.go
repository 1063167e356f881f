package copies

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// Suite measures the ways to copy pages of a GPU for bench all. Where there is
// none, or in a build without the tag cuda, it says so and measures nothing.
func Suite() harness.Suite {
	return harness.Suite{Name: "copy", Title: "Copies between GPU and host", Run: suite}
}

func suite(ctx context.Context, e *harness.Env, s *harness.Section) error {
	o := optionsOf(e)
	o.Progress = func(n int64) { e.Log("copy: runs of %s", harness.SizeText(int(n))) }
	res, err := Run(ctx, o)
	if errors.Is(err, kvferry.ErrNoDevice) || errors.Is(err, kvferry.ErrUnsupported) {
		s.Miss("GPU", err.Error())
		s.Figure("op=copy/way=best", harness.BytesPerSecond).Open(ofLink(), "there is no GPU here that can be measured")
		return nil
	}
	if err != nil {
		return err
	}
	s.Note("%s, CUDA %v. Direct is one batch of copies, staged a kernel that gathers and one large copy, plain one asynchronous "+
		"copy for each run; the link is copies of one piece of the same bytes, by the device's own clock. Each figure is a median "+
		"of %d rounds already.", res.Device, res.Driver, res.Rounds)
	for i := range res.Points {
		addPoint(s, &res.Points[i])
	}
	return nil
}

// optionsOf are those of a scale.
func optionsOf(e *harness.Env) Options {
	o := Options{Rounds: e.Rounds}
	switch e.Scale {
	case harness.Smoke:
		o.RunBytes, o.Runs, o.MaxBytes, o.Each = []int64{8 << 10}, []int64{16}, 1<<20, time.Microsecond
	case harness.Quick:
		o.RunBytes, o.Runs, o.Each = []int64{2 << 10, 8 << 10, 128 << 10}, []int64{16, 256, 4096}, 10*time.Millisecond
	}
	return o
}

// ofLink is the goal of the best way: the link's rate but for 3 %.
func ofLink() harness.Goal { return harness.Goal{AtLeast: 0.97} }

// addPoint adds the rates of one kind of job. The goal is for jobs that are long
// enough for the link to count.
func addPoint(s *harness.Section, p *Point) {
	name := func(way string) string {
		return fmt.Sprintf("op=%s/way=%s/run=%d/runs=%d", p.Direction, way, p.RunBytes, p.Runs)
	}
	rate := func(ns float64) float64 { return float64(p.Bytes()) / ns * 1e9 }
	link := s.Figure(name("link"), harness.BytesPerSecond)
	link.Role = harness.Limit
	link.Add(rate(p.Link))
	const long = 64 << 20
	for _, way := range ways() {
		f := s.Figure(name(way.String()), harness.BytesPerSecond)
		f.Add(rate(*p.of(way)))
		f.Versus(link, harness.Goal{})
		if way == p.Best && p.Bytes() >= long && p.RunBytes >= 2<<10 {
			f.Goal = ofLink()
		}
	}
}
