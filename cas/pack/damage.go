package pack

import (
	"slices"
	"sync"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
)

// damage is what could not be read of the store's own files; records of blobs
// are not among them.
type damage struct {
	mu    sync.Mutex
	list  []error
	holes []error // of them, those that say that a part of the state is missing
	past  int     // how many errors of the log are done with
}

// note adds an error, once.
func (d *damage) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = addOnce(d.list, err)
}

// hole adds an error that says that a part of the state is missing, which the
// packs or the log before may have.
func (d *damage) hole(errs ...error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range errs {
		d.list, d.holes = addOnce(d.list, err), addOnce(d.holes, err)
	}
}

func addOnce(list []error, err error) []error {
	if slices.ContainsFunc(list, func(e error) bool { return e.Error() == err.Error() }) {
		return list
	}
	return append(list, err)
}

// all returns what was noted, and those errors that say that a part of the
// state is missing. What the log j lost is among both.
func (d *damage) all(j *journal.Journal) (list, holes []error) {
	found := j.Damage()
	d.mu.Lock()
	past := d.past
	d.mu.Unlock()
	d.hole(found[past:]...)
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list), slices.Clone(d.holes)
}

// mended says that what was noted so far is done with.
func (d *damage) mended(j *journal.Journal) {
	past := len(j.Damage())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.holes, d.past = nil, nil, past
}
