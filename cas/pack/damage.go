package pack

import (
	"slices"
	"sync"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
)

// damage is what could not be read of the store's own files; records of blobs
// are not among them.
type damage struct {
	mu   sync.Mutex
	list []error
}

// note adds an error, once.
func (d *damage) note(errs ...error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range errs {
		same := func(e error) bool { return e.Error() == err.Error() }
		if !slices.ContainsFunc(d.list, same) {
			d.list = append(d.list, err)
		}
	}
}

// all returns what was noted, and what the log found since.
func (d *damage) all(j *journal.Journal) []error {
	if j != nil {
		d.note(j.Damage()...)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list)
}
