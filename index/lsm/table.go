package lsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvferry/kvferry"
)

// What a table ends with, little-endian: the version of its format, which has no
// checksum in this version, and how its blocks are read depends on it: Pebble
// panics over another one's.
const (
	tableSuffix  = ".sst"
	tableVersion = 5 // that of the constant format
	tableMagic   = "\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"
	tableEnd     = 4 + len(tableMagic)
)

// Open implements vfs.FS.
func (w *watchedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := w.FS.Open(name, o...)
	if err != nil || !strings.HasSuffix(name, tableSuffix) {
		return f, err
	}
	if err := checkTable(f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, f.Close()))
	}
	return f, nil
}

// checkTable reports a table that does not end as all do. One without an end is
// left to Pebble.
func checkTable(f vfs.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() < int64(tableEnd) {
		return err
	}
	var end [tableEnd]byte
	if _, err := f.ReadAt(end[:], info.Size()-int64(tableEnd)); err != nil {
		return err
	}
	if v := binary.LittleEndian.Uint32(end[:]); v != tableVersion || string(end[4:]) != tableMagic {
		return fmt.Errorf("a table of version %d: %w", v, kvferry.ErrCorrupt)
	}
	return nil
}
