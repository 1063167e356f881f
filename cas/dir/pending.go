//go:build unix

package dir

import (
	"sync"

	"github.com/kvferry/kvferry/digest"
)

// pendingBlob is a blob in a temporary file: readable in this process, and not
// in its place before it is durable. Whichever session that put or found it is
// flushed first moves it to its place. When all of them ended without that it
// is deleted.
type pendingBlob struct {
	d     digest.Digest
	owner *session // the one that writes it
	temp  string
	size  int64
	ready chan struct{} // closed when it is written, or failed to be
	state pendingState  // guarded by the lock of its stripe
}

type pendingState int

const (
	writing pendingState = iota
	written
	published
	lost // never written, set aside, or collected
)

// pendingTable holds the pending blobs of a store, in stripes, so that looking
// at a file and entering it here can be one step per digest.
type pendingTable struct {
	stripes [64]struct {
		sync.Mutex
		blobs map[digest.Digest]*pendingBlob
	}
}

func (t *pendingTable) init() {
	for i := range t.stripes {
		t.stripes[i].blobs = map[digest.Digest]*pendingBlob{}
	}
}

// lock locks the stripe of d and returns its blobs and the function that
// unlocks it.
func (t *pendingTable) lock(d digest.Digest) (map[digest.Digest]*pendingBlob, func()) {
	sum := d.Sum()
	s := &t.stripes[sum[1]%byte(len(t.stripes))]
	s.Lock()
	return s.blobs, s.Unlock
}

// written returns the temporary file of d if it is complete.
func (t *pendingTable) written(d digest.Digest) (temp string, ok bool) {
	blobs, unlock := t.lock(d)
	defer unlock()
	if e := blobs[d]; e != nil && e.state == written {
		return e.temp, true
	}
	return "", false
}

// settle ends the writing of e.
func (t *pendingTable) settle(e *pendingBlob, state pendingState) {
	blobs, unlock := t.lock(e.d)
	defer unlock()
	e.state = state
	if state == lost {
		delete(blobs, e.d)
	}
	close(e.ready)
}

// forget removes the blob whose temporary file is gone or cannot be trusted.
func (t *pendingTable) forget(d digest.Digest, temp string) {
	blobs, unlock := t.lock(d)
	defer unlock()
	if e := blobs[d]; e != nil && e.temp == temp {
		e.state = lost
		delete(blobs, d)
	}
}

// each calls visit for every complete blob.
func (t *pendingTable) each(visit func(d digest.Digest, size int64)) {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.Lock()
		for d, e := range s.blobs {
			if e.state == written {
				visit(d, e.size)
			}
		}
		s.Unlock()
	}
}
