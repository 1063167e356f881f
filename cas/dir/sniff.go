//go:build unix

package dir

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// sniffer looks at the first byte of zstd files, so that pages need not be
// decoded to see that they are no manifests.
type sniffer struct{ z *zstd.Decoder }

func newSniffer() (*sniffer, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(1<<27+1))
	if err != nil {
		return nil, fmt.Errorf("dir: zstd: %w", err)
	}
	return &sniffer{z}, nil
}

// first returns the first plain byte of the file rel, io.EOF if it has none,
// and ErrCorrupt if it cannot be decoded.
func (n *sniffer) first(s *Store, rel string) (byte, error) {
	fd, size, err := s.fs.openRegular(rel)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	src := io.NewSectionReader(fileAt{&s.fs, fd, rel}, 0, size)
	if err := n.z.Reset(src); err != nil {
		return 0, fmt.Errorf("dir: %s: %v: %w", rel, err, kvferry.ErrCorrupt)
	}
	var b [1]byte
	if _, err := io.ReadFull(n.z, b[:]); err == io.EOF {
		return 0, io.EOF
	} else if err != nil {
		return 0, fmt.Errorf("dir: %s: %v: %w", rel, err, kvferry.ErrCorrupt)
	}
	return b[0], nil
}

// fileAt reads a descriptor through the seam.
type fileAt struct {
	fs  *files
	fd  int
	rel string
}

func (f fileAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.fs.read(f.fd, f.rel, off, p)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
