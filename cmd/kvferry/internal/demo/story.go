package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// story is one demo on its way.
type story struct {
	o    Options
	work *work
	dir  string

	streamed map[string][]int32 // by the first process
	goneOn   map[string][]int32 // by the second process
	capture  captured
	restore  restored
}

// The steps around the capture.
const (
	whileCapturing = 16 // steps at most between asking for it and its end
	afterCapture   = 5  // steps of the doomed process after it
)

func (s *story) tell(ctx context.Context) (Report, error) {
	rep := Report{Model: s.work.name, Sequences: len(s.work.requests), PrefixTokens: s.work.common()}
	if err := s.first(ctx); err != nil {
		return rep, err
	}
	if err := s.second(ctx); err != nil {
		return rep, err
	}
	want, err := s.work.uninterrupted(ctx)
	if err != nil {
		return rep, fmt.Errorf("demo: uninterrupted run: %w", err)
	}
	if s.o.Sabotage {
		last := want[s.work.requests[0].ID]
		last[len(last)-1] ^= 1
	}
	s.fill(&rep)
	return rep, s.compare(&rep, want)
}

// first serves until the middle of generation, captures, and dies.
func (s *story) first(ctx context.Context) error {
	p, err := s.o.start(ctx, s.dir, false)
	if err != nil {
		return err
	}
	defer p.abandon()
	if _, err := p.await(kindReady); err != nil {
		return err
	}
	s.o.Tell(fmt.Sprintf("process %d serves %d sequences of the %s; they share a prefix of %d tokens",
		p.pid(), len(s.work.requests), s.work.name, s.work.common()))
	s.streamed = map[string][]int32{}
	for len(s.streamed[s.work.requests[0].ID]) < s.work.tokens()/3 {
		if err := s.advance(p); err != nil {
			return err
		}
	}
	if err := p.ask(askCapture); err != nil {
		return err
	}
	for i := 0; i < whileCapturing && p.late == nil; i++ {
		if err := s.advance(p); err != nil {
			return err
		}
	}
	if p.late == nil {
		e, err := p.await(kindCaptured)
		if err != nil {
			return err
		}
		p.late = e.Captured
	}
	s.capture = *p.late
	s.o.Tell(fmt.Sprintf("process %d is captured in the middle of generation: %d pages, %d bytes", p.pid(), s.capture.Pages, s.capture.Bytes))
	for range afterCapture {
		if err := s.advance(p); err != nil {
			return err
		}
	}
	if err := p.kill(); err != nil {
		return err
	}
	s.o.Tell(fmt.Sprintf("process %d is killed (SIGKILL)", p.pid()))
	return nil
}

// second restores in another process and serves to the end.
func (s *story) second(ctx context.Context) error {
	p, err := s.o.start(ctx, s.dir, true)
	if err != nil {
		return err
	}
	defer p.abandon()
	e, err := p.await(kindRestored)
	if err != nil {
		return err
	}
	s.restore = *e.Restored
	s.o.Tell(fmt.Sprintf("process %d restores %d pages, every byte checked, and goes on", p.pid(), s.restore.Pages))
	s.goneOn = map[string][]int32{}
	for {
		if err := p.ask(askStep); err != nil {
			return err
		}
		e, err := p.await(kindStep)
		if err != nil {
			return err
		}
		if e.Idle {
			return p.finish()
		}
		for _, t := range e.Tokens {
			s.goneOn[t.ID] = append(s.goneOn[t.ID], t.Token)
		}
	}
}

// advance takes one step of the first process and keeps its tokens.
func (s *story) advance(p *process) error {
	e, err := p.step()
	if err != nil {
		return err
	}
	if e.Idle {
		return errors.New("demo: the first process was done before it was captured")
	}
	for _, t := range e.Tokens {
		s.streamed[t.ID] = append(s.streamed[t.ID], t.Token)
	}
	return nil
}

// fill reports what was measured.
func (s *story) fill(r *Report) {
	c := s.capture
	r.Pages, r.Sequences, r.Bytes, r.NewBytes, r.StoredBytes, r.Digest = c.Pages, c.Sequences, c.Bytes, c.NewBytes, c.StoredBytes, c.Digest
	if c.Pages > 0 {
		r.PageBytes = int(c.Bytes / int64(c.Pages))
	}
	r.PauseMS, r.CopySeconds, r.Capture, r.Restore = 1e3*c.Pause, c.Copy, c.Elapsed, s.restore.Elapsed
	r.CaptureGBps, r.CopyGBps = perSecond(c.Bytes, c.Elapsed), perSecond(c.Bytes, c.Copy)
	r.RestoreGBps = perSecond(s.restore.Bytes, s.restore.Elapsed)
}

// perSecond returns a rate in GB/s.
func perSecond(bytes int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(bytes) / seconds / 1e9
}

// compare holds what both processes generated against the uninterrupted run:
// the tokens until the snapshot, as streamed and as saved, those that the first
// process streamed after it, and those of the second process.
func (s *story) compare(r *Report, want map[string][]int32) error {
	r.Equal = len(s.capture.States) == len(want) && s.restore.Pages == s.capture.Pages
	for _, st := range s.capture.States {
		before, after := st.Generated(), s.goneOn[st.ID]
		streamed := s.streamed[st.ID]
		r.Captured += len(before)
		r.Lost += len(streamed) - len(before)
		r.Continued += len(after)
		r.Compared += len(want[st.ID])
		r.Equal = r.Equal && len(after) > 0 &&
			slices.Equal(slices.Concat(before, after), want[st.ID]) &&
			len(streamed) >= len(before) && len(streamed) <= len(want[st.ID]) &&
			slices.Equal(streamed, want[st.ID][:len(streamed)])
		prompt := st.Tokens[:st.Prompt]
		b, err := s.work.text(prompt, before)
		if err != nil {
			return err
		}
		a, err := s.work.text(st.Tokens, after)
		if err != nil {
			return err
		}
		r.Texts = append(r.Texts, Text{ID: st.ID, Before: b, After: a})
	}
	return nil
}
