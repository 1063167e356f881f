//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Quarantine implements cas.Quarantiner: the file is moved to quarantine/,
// under the blob's digest, a random number and the reason.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.startWrite(ctx, "quarantine"); err != nil {
		return err
	}
	defer s.stop()
	if !d.Valid() {
		return fmt.Errorf("dir: quarantine of an invalid digest: %w", kvferry.ErrInvalid)
	}
	err := s.quarantine(d)
	if err == nil {
		for _, x := range s.openSessions() {
			x.lose(d)
		}
	}
	return err
}

func (s *Store) quarantine(d digest.Digest) error {
	blobs, unlock := s.pending.lock(d)
	defer unlock()
	e := blobs[d]
	if e != nil && e.state == written {
		err := s.setAside(e.temp, d, "damaged")
		if err == nil || errors.Is(err, kvferry.ErrNotFound) {
			e.state = lost
			delete(blobs, d)
		}
		if !errors.Is(err, kvferry.ErrNotFound) {
			return err
		}
	}
	return s.setAside(blobPath(d), d, "damaged")
}

// lose notes that d was set aside: the session cannot be committed unless it
// is put again.
func (x *session) lose(d digest.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.held[d] != there {
		return
	}
	x.held[d] = gone
	x.lost++
	for e := range x.pending {
		if e.d == d {
			delete(x.pending, e)
		}
	}
}

// setAside moves what lies at rel, whatever it is, to the quarantine.
func (s *Store) setAside(rel string, d digest.Digest, reason string) error {
	to := quarantineDir + "/" + flatName(d) + "." + newID() + "." + reason
	err := s.fs.rename(rel, to)
	if missing(err) {
		return fmt.Errorf("dir: %s: %w", rel, kvferry.ErrNotFound)
	}
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("dir: %s is a mount point: %w", rel, kvferry.ErrCorrupt)
	}
	return unwritten("quarantine", rel, err)
}

// quarantined reads the name of a file in quarantine/.
func quarantined(name string) (digest.Digest, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || !validID(parts[1]) {
		return digest.Digest{}, false
	}
	d, err := parseFlatName(parts[0])
	return d, err == nil
}
