package engine

import "slices"

// shareLocked lets s take over pages of other sequences for as long as it
// stands at the start of a page and another sequence has written a page for the
// same tokens. It reports whether s should sit this step out, because a
// sequence of the plan is about to write the page that s needs next. The page
// with the last token is never taken over: its logits are needed.
func (e *Engine) shareLocked(s *sequence, plan []work) bool {
	n := e.cfg.PageTokens
	for !e.cfg.Private && s.Written%n == 0 && s.Written+n < len(s.Tokens) {
		end := s.Written + n
		donor := e.donorLocked(s, end)
		if donor == nil {
			return slices.ContainsFunc(plan, func(w work) bool {
				return w.s.Written == s.Written && w.rows == n && samePrefix(w.s, s, end)
			})
		}
		p := donor.pages[s.Written/n]
		e.blocks.ref([]uint32{p})
		s.pages = append(s.pages, p)
		s.Written = end
	}
	return false
}

// donorLocked returns a sequence that has the first end tokens of s in its
// pages.
func (e *Engine) donorLocked(s *sequence, end int) *sequence {
	for _, d := range e.seqs {
		if d != s && !d.parked && d.Written >= end && samePrefix(d, s, end) {
			return d
		}
	}
	return nil
}

func samePrefix(a, b *sequence, n int) bool {
	return len(a.Tokens) >= n && slices.Equal(a.Tokens[:n], b.Tokens[:n])
}
