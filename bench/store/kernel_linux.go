package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// counters are what the kernel counted of this process and of the device. The
// device's count includes what other processes did meanwhile.
type counters struct {
	readBytes, writeBytes int64 // of this process, at the block layer
	deviceBytes           int64 // written to the device
	cpuSeconds            float64
}

// since returns what was counted after c was.
func (c counters) since(old counters) counters {
	return counters{
		c.readBytes - old.readBytes, c.writeBytes - old.writeBytes,
		c.deviceBytes - old.deviceBytes, c.cpuSeconds - old.cpuSeconds,
	}
}

// count reads the kernel's counters. What the kernel does not tell is 0.
func count(dir string) (counters, error) {
	var c counters
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return c, fmt.Errorf("getrusage: %w", err)
	}
	c.cpuSeconds = float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
	own, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return c, err
	}
	for line := range bytes.Lines(own) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return c, fmt.Errorf("/proc/self/io: %w", err)
		case key == "read_bytes":
			c.readBytes = n
		case key == "write_bytes":
			c.writeBytes = n
		}
	}
	c.deviceBytes, err = deviceBytes(dir)
	return c, err
}

// sectorBytes is the unit of the statistics, whatever the device's own is.
const sectorBytes = 512

// deviceBytes returns what was written to the device under dir since boot.
func deviceBytes(dir string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", dir, err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // no block device
	}
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, fmt.Errorf("device statistics of %d fields", len(fields))
	}
	n, err := strconv.ParseInt(fields[6], 10, 64)
	return n * sectorBytes, err
}

// residentBytes returns how much memory this process holds that is not the
// page cache's.
func residentBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib * kiB, err
		}
	}
	return 0, fmt.Errorf("no RssAnon: %w", kvferry.ErrUnsupported)
}

// openDirect opens a file for transfers past the page cache. A file system
// without them is ErrUnsupported.
func openDirect(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0o644)
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: %w", kvferry.ErrUnsupported, err)
	}
	return f, err
}

// writeParts writes parts from the beginning of a file on.
func writeParts(f *os.File, parts ...[]byte) error {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	n, err := unix.Pwritev(int(f.Fd()), parts, 0)
	if err == nil && n < total {
		err = io.ErrShortWrite
	}
	return err
}

// allocate makes a file as long as it will be, so that writes do not extend it.
func allocate(f *os.File, bytes int64) error {
	if err := unix.Fallocate(int(f.Fd()), 0, 0, bytes); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("fallocate: %w", err)
	}
	return nil
}

// alignedBuffer is memory that O_DIRECT takes; release gives it back.
func alignedBuffer(bytes int) (buf []byte, release func() error, err error) {
	buf, err = unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("mmap: %w", err)
	}
	return buf, func() error { return unix.Munmap(buf) }, nil
}
