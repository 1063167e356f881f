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

// object tells whether the first plain byte of the file rel is that of a JSON
// object. A file that cannot be decoded is ErrCorrupt.
func (n *sniffer) object(s *Store, rel string) (bool, error) {
	fd, size, err := s.fs.openRegular(rel)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	src := io.NewSectionReader(fileAt{&s.fs, fd, rel}, 0, size)
	if err := n.z.Reset(src); err != nil {
		return false, fmt.Errorf("dir: %s: %w: %w", rel, kvferry.ErrCorrupt, err)
	}
	var b [1]byte
	if _, err := io.ReadFull(n.z, b[:]); err == io.EOF {
		return false, nil // it is empty
	} else if err != nil {
		return false, fmt.Errorf("dir: %s: %w: %w", rel, kvferry.ErrCorrupt, err)
	}
	return b[0] == '{', nil
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
