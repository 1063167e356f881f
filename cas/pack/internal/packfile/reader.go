package packfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// ReaderOptions say how a reader reads. FS must be given.
type ReaderOptions struct {
	FS vfs.FS
	// Direct moves data past the page cache where the file system can.
	Direct bool
	// OpenFiles is how many packs stay open, 256 by default. More are open only
	// while they are being read.
	OpenFiles int
}

// Reader reads records of packs. It is safe for concurrent use.
type Reader struct {
	o      ReaderOptions
	mode   vfs.Mode
	memory memory

	mu     sync.Mutex
	open   map[uint64]*openPack
	uses   uint64
	closed bool
}

// NewReader returns a reader. It must be closed.
func NewReader(o ReaderOptions) *Reader {
	if o.OpenFiles <= 0 {
		o.OpenFiles = 256
	}
	r := &Reader{o: o, open: map[uint64]*openPack{}}
	if o.Direct {
		r.mode = vfs.Direct
	}
	return r
}

// Read hands the record at s to use, whose error it returns as it is. The bytes
// are what the pack holds there, checked for nothing, and valid until use
// returns. A pack that is gone is fs.ErrNotExist, one that ends before the
// record does ErrCorrupt.
func (r *Reader) Read(ctx context.Context, s Spot, use func(rec []byte) error) error {
	if err := ctx.Err(); err != nil {
		return readFailed(s, err)
	}
	if err := s.check(); err != nil {
		return readFailed(s, err)
	}
	p, err := r.acquire(s.Pack)
	if err != nil {
		return readFailed(s, err)
	}
	defer r.release(p)
	b, rec, err := r.load(p, s)
	if err != nil {
		return readFailed(s, err)
	}
	defer r.memory.giveBack(b)
	return use(rec)
}

func readFailed(s Spot, err error) error {
	return fmt.Errorf("packfile: read %d bytes at %d of pack %016x: %w", s.Bytes, s.Off, s.Pack, err)
}

// check tells whether a record can be at s at all.
func (s Spot) check() error {
	if s.Off < firstOff || s.Off%unitBytes != 0 || s.Bytes < OverheadBytes || s.Bytes > math.MaxInt64-2*blockBytes-s.Off {
		return fmt.Errorf("no place of a record: %w", kvferry.ErrCorrupt)
	}
	return nil
}

// load reads the record at s. On success the caller gives the block back.
func (r *Reader) load(p *openPack, s Spot) (*block, []byte, error) {
	if err := p.reach(s.Off + s.Bytes); err != nil { // before memory of that length is used
		return nil, nil, err
	}
	from, to := p.around(s.Off, s.Off+s.Bytes)
	b := r.memory.borrow(to - from)
	n, err := p.file.ReadAt(b.mem[:to-from], from)
	at := s.Off - from
	if int64(n) < at+s.Bytes {
		r.memory.giveBack(b)
		return nil, nil, short(err)
	}
	return b, b.mem[at : at+s.Bytes], nil
}

// short is the error of a read that did not return everything.
func short(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("the pack is too short: %w", kvferry.ErrCorrupt)
	}
	return err
}

// Header reads the header of a pack. A header of another pack is ErrCorrupt.
func (r *Reader) Header(ctx context.Context, pack uint64) (Header, error) {
	h, err := r.header(ctx, pack)
	if err != nil {
		return Header{}, fmt.Errorf("packfile: header of pack %016x: %w", pack, err)
	}
	return h, nil
}

func (r *Reader) header(ctx context.Context, pack uint64) (Header, error) {
	if err := ctx.Err(); err != nil {
		return Header{}, err
	}
	p, err := r.acquire(pack)
	if err != nil {
		return Header{}, err
	}
	defer r.release(p)
	h, err := readHeader(p.file)
	if err == nil && h.ID != pack {
		err = fmt.Errorf("the file is pack %016x: %w", h.ID, kvferry.ErrCorrupt)
	}
	return h, err
}

// readHeader reads the first block of a pack.
func readHeader(f vfs.File) (Header, error) {
	b := vfs.Buffer(firstOff)
	defer vfs.FreeBuffer(b)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return Header{}, short(err)
	}
	return ParseHeader(b)
}

// Forget closes the pack, as soon as nobody reads it.
func (r *Reader) Forget(pack uint64) {
	r.mu.Lock()
	p := r.open[pack]
	last := r.forgetLocked(p)
	r.mu.Unlock()
	if last {
		_ = p.file.Close() // nothing was written
	}
}

// Close closes all packs, those that are being read when their last reader is
// done.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	var idle []*openPack
	for _, p := range r.open {
		if r.forgetLocked(p) {
			idle = append(idle, p)
		}
	}
	r.mu.Unlock()
	for _, p := range idle {
		_ = p.file.Close() // nothing was written
	}
	r.memory.close()
	return nil
}
