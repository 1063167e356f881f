package lsm

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/kvferry/kvferry"
)

// manifest knows what was written to one of Pebble's manifests, the lists of
// tables. Pebble takes one that ends with what it cannot read for one that a
// crash tore, and forgets the tables behind: so the index keeps, in a mark, how
// long the newest is and its CRC-32C.
type manifest struct {
	mu     sync.Mutex
	number uint64
	bytes  uint32
	crc    uint32
}

const manifestPrefix = "MANIFEST-"

// manifestNumber returns the number of a manifest.
func manifestNumber(base string) (uint64, bool) {
	digits, ok := strings.CutPrefix(base, manifestPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// add notes what was written behind the rest.
func (m *manifest) add(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += uint32(len(p))
	m.crc = crc32.Update(m.crc, castagnoli(), p)
}

// numbers are those of the mark.
func (m *manifest) numbers() (a, b uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.number, uint64(m.bytes)<<32 | uint64(m.crc)
}

// checkManifest compares the manifest that a mark is of with it.
func checkManifest(w *watchedFS, dir string, k *mark) error {
	number, b := k.get()
	name := fmt.Sprintf("%s%06d", manifestPrefix, number)
	path := w.PathJoin(dir, name)
	f, err := w.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its name was not yet durable, or Pebble says what is missing
	}
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli())
	n, err := io.CopyN(sum, f, int64(b>>32))
	closed := f.Close()
	switch {
	case err == io.EOF || err == nil && sum.Sum32() != uint32(b): //nolint:errorlint // CopyN's own
		return fmt.Errorf("%s is not what was written, in its first %d of %d bytes: %w", name, n, b>>32, kvferry.ErrCorrupt)
	case err != nil:
		return err
	}
	return closed
}
