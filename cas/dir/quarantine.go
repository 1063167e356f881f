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
// under the blob's digest, a random number and the reason. It is read again
// before, with no session and no collector of any process beside, so that a
// blob which was stored anew since the caller looked stays where it is.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.startWrite(ctx, "quarantine"); err != nil {
		return err
	}
	defer s.stop()
	if !d.Valid() {
		return fmt.Errorf("dir: quarantine of an invalid digest: %w", kvferry.ErrInvalid)
	}
	return s.quarantine(ctx, d, func(rel string) (finding, error) { return s.judge(rel, d) })
}

// quarantine sets aside those files of d that are damaged. ErrNotFound says
// that there is none at all.
func (s *Store) quarantine(ctx context.Context, d digest.Digest, judge func(rel string) (finding, error)) error {
	moved := false
	err := s.exclude(ctx, func() (err error) {
		moved, err = s.quarantineAlone(d, judge)
		return err
	})
	if moved {
		for _, x := range s.openSessions() {
			x.lose(d)
		}
	}
	return err
}

func (s *Store) quarantineAlone(d digest.Digest, judge func(rel string) (finding, error)) (moved bool, err error) {
	blobs, unlock := s.pending.lock(d)
	defer unlock()
	there := false
	if e := blobs[d]; e != nil && e.state == written {
		found, err := judge(e.temp)
		if err == nil && found == damaged {
			err = s.setAside(e.temp, d, "damaged")
			moved = err == nil
		}
		if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return moved, err
		}
		if there = found == whole; !there {
			e.state = lost
			delete(blobs, d)
		}
	}
	found, err := judge(blobPath(d))
	if err == nil && found == damaged {
		err = s.setAside(blobPath(d), d, "damaged")
		moved = moved || err == nil
	}
	if err == nil && found == absent && !moved && !there {
		err = fmt.Errorf("dir: %s: %w", blobPath(d), kvferry.ErrNotFound)
	}
	return moved, err
}

// lose notes that d was set aside: the session cannot be committed unless it
// is put again.
func (x *session) lose(d digest.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if h := x.held[d]; h != there && h != compared {
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
