package journal

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// output writes a file from one place on, in pieces.
type output struct {
	f   vfs.File
	off int64 // of what is not written yet
	buf []byte
}

const outputBytes = 1 << 20

func (o *output) write(b []byte) error {
	for len(b) > 0 {
		if cap(o.buf)-len(o.buf) == 0 {
			if err := o.flush(); err != nil {
				return err
			}
			o.grow(len(b))
		}
		n := min(len(b), cap(o.buf)-len(o.buf))
		o.buf = append(o.buf, b[:n]...)
		b = b[n:]
	}
	return nil
}

// grow makes room for n bytes, or for as many as are written at a time.
func (o *output) grow(n int) {
	if n = min(n, outputBytes); cap(o.buf) < n {
		o.buf = make([]byte, 0, min(max(n, 2*cap(o.buf), 4096), outputBytes))
	}
}

func (o *output) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.f.WriteAt(o.buf, o.off)
	o.off += int64(len(o.buf))
	o.buf = o.buf[:0]
	return err
}

// emit writes a transaction after c and returns the place behind it.
func (o *output) emit(c cursor, t txHead, salt uint32, parts [][]byte) (cursor, error) {
	t.link = c.link
	for _, p := range parts {
		t.bytes += int64(len(p))
		t.sum = crc(t.sum, p)
	}
	var b [txHeader]byte
	t.encode(b[:], salt)
	err := o.write(b[:])
	for _, p := range parts {
		if err == nil {
			err = o.write(p)
		}
	}
	size := span(t.bytes)
	if pad := size - txHeader - t.bytes; err == nil && pad > 0 {
		var zeros [8]byte
		err = o.write(zeros[:pad])
	}
	return cursor{off: c.off + size, seq: t.seq, link: linkOf(b[:], salt)}, err
}

// builder writes a generation under its temporary name.
type builder struct {
	*generation
	out output
	end cursor
}

// build begins a generation. Its file is locked: by its own name it will be
// found locked, so that nobody appends before its builder lets them.
func build(ctx context.Context, f vfs.FS, h header) (*builder, error) {
	file, err := f.Open(newName(h.generation), vfs.Create)
	if err != nil {
		return nil, fmt.Errorf("journal: make log: %w", space(err))
	}
	b := &builder{generation: &generation{header: h, f: file}, end: h.start()}
	b.out = output{f: file, off: firstTx}
	if err := b.begin(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: make log %016x: %w", h.generation, space(err)), file.Close())
	}
	return b, nil
}

func (b *builder) begin(ctx context.Context, f vfs.FS) error {
	if err := b.f.Lock(ctx); err != nil {
		return err
	}
	info, err := b.f.Stat()
	if err != nil {
		return err
	}
	b.id = info.ID
	// Whoever had the lock before may have given the file its final name.
	named, err := f.Stat(newName(b.generation.generation))
	if err != nil {
		return err
	}
	if named.ID != b.id {
		return errTaken
	}
	return b.f.Truncate(0) // what somebody left who did not finish
}

// errTaken says that another process made the generation.
var errTaken = errors.New("another process was faster")

// add appends a transaction; the first error is kept by finish, too.
func (b *builder) add(t txHead, payload []byte) error {
	t.bytes, t.sum, t.durable = 0, 0, firstTx
	var err error
	b.end, err = b.out.emit(b.end, t, b.salt(), [][]byte{payload})
	return err
}

// finish makes the file durable, which is complete then.
func (b *builder) finish() error {
	if err := b.out.flush(); err != nil {
		return err
	}
	block := make([]byte, firstTx)
	b.encode(block)
	b.encode(block[headerCopy:])
	// Until its name is durable the log is suspect: whoever gets it before, or
	// without knowing, makes another.
	copy(block[wordsAt:], words{committed: b.end.off, durable: b.end.off, suspect: true}.encode())
	if _, err := b.f.WriteAt(block, 0); err != nil {
		return err
	}
	if err := b.f.Sync(); err != nil {
		return err
	}
	var err error
	b.word, err = b.f.Watch(wordsAt)
	return err
}

// discard removes what was built.
func (b *builder) discard(f vfs.FS, cause error) error {
	_ = f.Remove(newName(b.generation.generation)) // while it is locked it is ours
	return errors.Join(fmt.Errorf("journal: make log %016x: %w", b.generation.generation, space(cause)), b.f.Close())
}

// space adds the sentinel to an error that says that the disk is full, or that
// it may not be written.
func space(err error) error {
	switch {
	case full(err) && !errors.Is(err, kvferry.ErrNoSpace):
		return fmt.Errorf("%w: %w", kvferry.ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS) && !errors.Is(err, kvferry.ErrReadOnly):
		return fmt.Errorf("%w: %w", kvferry.ErrReadOnly, err)
	}
	return err
}
