//go:build !linux

package store

import (
	"fmt"
	"os"

	"github.com/kvferry/kvferry"
)

// counters are what the kernel counted of this process and of the device.
type counters struct {
	readBytes, writeBytes int64
	deviceBytes           int64
	cpuSeconds            float64
}

func (c counters) since(counters) counters { return c }

// count has no counters to read here: figures that rest on them are zero.
func count(string) (counters, error) { return counters{}, nil }

func residentBytes() (int64, error) { return 0, nil }

func openDirect(path string, flags int) (*os.File, error) {
	return nil, fmt.Errorf("open %s past the page cache, flags %#x: %w", path, flags, kvferry.ErrUnsupported)
}

func writeParts(f *os.File, parts ...[]byte) error {
	at := int64(0)
	for _, p := range parts {
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
		at += int64(len(p))
	}
	return nil
}

func allocate(*os.File, int64) error { return nil }

func alignedBuffer(bytes int) (buf []byte, release func() error, err error) {
	return make([]byte, bytes), func() error { return nil }, nil
}
