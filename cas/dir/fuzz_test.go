package dir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

func known(err error) bool {
	return errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported)
}

var fuzzRoot = digest.New(digest.BLAKE3, [32]byte{1, 2, 3})

// FuzzEntry: what is read back is exactly what would be written.
func FuzzEntry(f *testing.F) {
	e := cas.Entry{Root: fuzzRoot, Format: cas.FormatNative, Created: time.Unix(1, 2).UTC(), Pages: 3, Sequences: 4, Bytes: 5}
	f.Add(encodeEntry(e))
	e.Image = digest.New(digest.SHA256, [32]byte{4, 5, 6})
	f.Add(encodeEntry(e))
	e.Image = fuzzRoot
	f.Add(encodeEntry(e))
	f.Add(encodeRecord(snapshotKind, "root", fuzzRoot.String(), "format", "native", "created", "x", "pages", "-1", "sequences", "0", "bytes", "0"))
	f.Add(encodeRecord("kvferry snapshot 2", "root", "later"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b, fuzzRoot)
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		require.Equal(t, string(b), string(encodeEntry(e)))
	})
}

// FuzzName likewise.
func FuzzName(f *testing.F) {
	f.Add(encodeName("x", fuzzRoot))
	f.Add(encodeName("y", fuzzRoot))
	f.Add(encodeRecord(nameKind, "name", "x", "root", "sha256:../x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := decodeName(b, "x")
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		require.Equal(t, string(b), string(encodeName("x", root)))
	})
}

// FuzzVersion likewise.
func FuzzVersion(f *testing.F) {
	f.Add(version{formatName, formatVersion, originOurs}.encode())
	f.Add(version{formatName, formatVersion, originForeign}.encode())
	f.Add([]byte(`{"format":"kvferry-dir","version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVersion(b)
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		require.Equal(t, string(b), string(v.encode()))
	})
}

// FuzzLease: any file is read to its end, or ErrCorrupt.
func FuzzLease(f *testing.F) {
	head := make([]byte, leaseHeader)
	copy(head, leaseMagic)
	record := func(kind byte, sum []byte) []byte {
		r := make([]byte, leaseRecord)
		r[0] = kind
		copy(r[1:], sum)
		binary.LittleEndian.PutUint32(r[36:], crc32.Checksum(r[:36], castagnoli))
		return r
	}
	f.Add(head)
	f.Add(bytes.Join([][]byte{head, record('T', []byte{1, 2, 3}), record(1, []byte{4}), record(3, nil)}, nil))
	f.Add(bytes.Join([][]byte{head, record(9, nil)}, nil))
	f.Add(bytes.Join([][]byte{head, record(1, nil)[:39]}, nil))
	path := filepath.Join(memory(f), "lease") // rewriting a file on a disk is slow
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		require.NoError(t, err)
		defer func() { require.NoError(t, unix.Close(fd)) }()
		r := leaseReader{fd: fd, rel: "lease"}
		seen := 0
		err = r.more(&files{}, func(d digest.Digest) {
			require.True(t, d.Valid())
			seen++
		})
		require.True(t, err == nil || known(err), "%v", err)
		require.LessOrEqual(t, seen, len(b)/leaseRecord)
	})
}

// FuzzMentioned: every digest that a JSON document has is found, however it is
// spelled.
func FuzzMentioned(f *testing.F) {
	d := digest.New(digest.SHA256, [32]byte{0xab})
	f.Add([]byte(`{"a":"`+d.String()+`"}`), "x")
	f.Add([]byte(`["\u0073ha256:`+d.Hex()+`"]`), "x")
	f.Add([]byte(`sha256:sha256:`), `"`)
	f.Fuzz(func(t *testing.T, b []byte, around string) {
		for d := range mentioned(b) {
			require.Equal(t, digest.SHA256, d.Algorithm())
		}
		found := mentioned([]byte(around + d.String() + around))
		require.Contains(t, found, d)
	})
}

// FuzzNames: names of files are read as nothing that they are not.
func FuzzNames(f *testing.F) {
	for _, name := range []string{tempName("0123456789abcdef", 255), "x.kvf", fuzzRoot.Hex() + ".kvf", flatName(fuzzRoot),
		fuzzRoot.Hex() + ".tmp.1.2", fuzzRoot.Hex() + ".json", flatName(fuzzRoot) + ".0123456789abcdef.damaged", "../x", "."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for a := digest.BLAKE3; a.Valid(); a++ {
			if d, ok := blobOf(a, 1, name); ok {
				require.Equal(t, shardDir(a, 1)+"/"+name, blobPath(d))
			}
		}
		if d, err := parseFlatName(name); err == nil {
			require.Equal(t, name, flatName(d))
		}
		_, _, ours := tempOwner(name)
		require.False(t, ours && foreignTemp(name))
		if _, ok := imageOf(name); ok {
			require.Len(t, name, 64+len(".json"))
		}
	})
}
