package packfile

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry/internal/vfs"
)

// rewriteBytes is about how much Rewrite holds in memory.
const rewriteBytes = 1 << 20

// Rewrite makes records and their pack's header durable of which nobody knows
// whether they are, as after a crash, and that this reader has read. If that was
// past the page cache, the disk has them, and is told to keep them. Else it
// writes the same bytes once more in place, since the system may wrongly take
// those for written that it reads; a crash meanwhile may tear the last of them.
// The spots are of one pack, in ascending order.
func (r *Reader) Rewrite(pack uint64, spots []Spot) (err error) {
	f, err := r.o.FS.Open(Path(pack), vfs.ReadWrite|r.mode)
	if err != nil {
		return fmt.Errorf("packfile: rewrite pack %016x: %w", pack, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("packfile: rewrite pack %016x: %w", pack, cause(err))
		}
	}()
	if !f.Direct() {
		if err := rewriteAll(f, spots); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return r.o.FS.SyncDir(Dir)
}

func rewriteAll(f vfs.File, spots []Spot) error {
	from, to := int64(0), int64(firstOff)
	for _, s := range spots {
		if err := s.check(); err != nil {
			return err
		}
		if end := roundUp(s.Off + s.Bytes); s.Off <= to && s.Off >= from && end-from <= rewriteBytes {
			to = max(to, end)
			continue
		}
		if err := rewriteRange(f, from, to); err != nil {
			return err
		}
		from, to = s.Off&^(blockBytes-1), roundUp(s.Off+s.Bytes)
	}
	return rewriteRange(f, from, to)
}

// rewriteRange writes whole blocks of a file with what they hold. The last one
// may be cut by the end of the file.
func rewriteRange(f vfs.File, from, to int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if to > roundUp(info.Size) {
		return short(nil)
	}
	mem := vfs.Buffer(int(to - from))
	defer vfs.FreeBuffer(mem)
	n, err := f.ReadAt(mem, from)
	if int64(n) < min(to, info.Size)-from {
		return short(err)
	}
	clear(mem[n:])
	_, err = f.WriteAt(mem, from)
	return err
}
