package packfile

import "errors"

// ReleaseAll tells the lane that records need its protection no longer, since
// the log has them or nobody wants them: each spot that Append returned once. A
// full pack is unlocked when all of its records were released. Until then
// whoever cleans up keeps away from it, for what the log does not know yet looks
// like garbage.
func (l *Lane) ReleaseAll(spots []Spot) {
	for _, p := range l.release(spots) {
		if err := p.file.Close(); err != nil {
			l.mu.Lock()
			l.odd = append(l.odd, err)
			l.mu.Unlock()
		}
	}
}

// release returns the packs that are to be closed.
func (l *Lane) release(spots []Spot) (done []*pack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range spots {
		p := l.packs[s.Pack]
		if p == nil {
			continue
		}
		if p.refs--; p.refs > 0 {
			continue
		}
		delete(l.packs, s.Pack)
		if p.kept {
			p.kept = false
			done = append(done, p)
		}
	}
	return done
}

// keep tells whether a pack that is full stays open for its lock.
func (l *Lane) keep(p *pack) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.kept = p.refs > 0 && !l.closed
	return p.kept
}

// closeKept closes what is open only for its lock.
func (l *Lane) closeKept() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, p := range l.packs {
		if p.kept {
			p.kept = false
			errs = append(errs, p.file.Close())
		}
	}
	clear(l.packs)
	return errors.Join(errs...)
}
