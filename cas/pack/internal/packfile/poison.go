package packfile

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/kvferry/kvferry"
)

// noSpace tells whether err is for want of room.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// cause adds what err means to it.
func cause(err error) error {
	switch {
	case noSpace(err):
		return fmt.Errorf("%w: %w", kvferry.ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", kvferry.ErrReadOnly, err)
	}
	return err
}

// poison ends a pack after a failed write or synchronisation. The system may
// have dropped what it could not write and count it as written, so trying again
// would only seem to work.
func (l *Lane) poison(p *pack, what string, err error) {
	l.mu.Lock()
	if p.err != nil {
		l.mu.Unlock()
		return
	}
	p.err = fmt.Errorf("packfile: %s pack %016x: %w: %w", what, p.id, kvferry.ErrPoisoned, cause(err))
	l.lost[p.id] = p
	from := p.synced
	l.mu.Unlock()

	l.o.Lost(p.id, from, p.err)

	l.mu.Lock()
	defer l.mu.Unlock()
	p.told = true
	l.news = append(l.news, p.err)
	l.signalLocked()
}

// Check returns nil unless the record at s is lost: its pack was poisoned, and
// no Sync before that covered the record. Then it returns why. Whoever keeps book
// of places on its own has to ask once a place is in the book: Lost may have been
// told between the return of Append and that.
func (l *Lane) Check(s Spot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.lost[s.Pack]; p != nil && s.Off >= p.synced {
		return p.err
	}
	return nil
}
