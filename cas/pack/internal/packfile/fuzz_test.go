package packfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/internal/vfs"
)

// fuzzMax bounds the buffers of the fuzz targets.
const fuzzMax = 1 << 20

// wantTyped fails unless err is one of the outcomes that decoders may have.
func wantTyped(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrUnsupported) && !errors.Is(err, kvferry.ErrShortBuffer) {
		t.Fatalf("untyped error %v", err)
	}
}

// mend makes the checksums of the headers of a record right, if that is what rec
// begins with, and that of its payload if it is all there.
func mend(rec []byte) {
	if len(rec) < packfile.OverheadBytes {
		return
	}
	le := binary.LittleEndian
	frame := rec[48:]
	if n := le.Uint64(frame[16:]); n <= uint64(len(frame)-codec.HeaderBytes) {
		le.PutUint32(frame[24:], crc32.Checksum(frame[codec.HeaderBytes:codec.HeaderBytes+n], castagnoli))
	}
	le.PutUint32(frame[28:], crc32.Checksum(frame[:28], castagnoli))
	reseal(rec)
}

// FuzzRecord feeds arbitrary bytes to what reads records, with checksums that are
// right or not. What decodes is as long as its header says.
func FuzzRecord(f *testing.F) {
	b := blobOf(1, 100)
	f.Add(b.record(), 100, true)
	f.Fuzz(func(t *testing.T, rec []byte, size int, mended bool) {
		size = max(0, min(size, fuzzMax))
		rec = bytes.Clone(rec) // it is the fuzzer's
		if mended {
			mend(rec)
		}
		buf := bytes.Repeat([]byte{0xa5}, size+64)
		r, err := packfile.ParseRecord(rec)
		wantTyped(t, err)
		if !r.Digest.Valid() {
			if err == nil {
				t.Fatal("a record without a digest")
			}
			return
		}
		n, derr := packfile.Decode(buf[:size], rec, r.Digest, new(codec.Decoder))
		wantTyped(t, derr)
		if !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xa5}, 64)) {
			t.Fatal("bytes behind the buffer were written")
		}
		if derr == nil && int64(n) != r.Frame.PlainBytes {
			t.Fatalf("%d bytes of %d", n, r.Frame.PlainBytes)
		}
		if err != nil && derr == nil {
			t.Fatalf("decoded in spite of %v", err)
		}
		cerr := packfile.CheckStored(rec, r.Digest)
		wantTyped(t, cerr)
		if cerr == nil && int64(len(rec)) != r.Bytes() {
			t.Fatalf("a whole record of %d bytes, not %d", len(rec), r.Bytes())
		}
	})
}

// FuzzHeader feeds arbitrary bytes to what reads the header of a pack.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("KVFRPCK\n\x01\x00\x00\x00\x02\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, block []byte, mended bool) {
		block = append(bytes.Clone(block), make([]byte, max(0, vfs.BlockBytes-len(block)))...)
		if mended {
			binary.LittleEndian.PutUint32(block[56:], crc32.Checksum(block[:56], castagnoli))
		}
		h, err := packfile.ParseHeader(block)
		wantTyped(t, err)
		if err == nil && h.Class != packfile.Snapshot && h.Class != packfile.Cache {
			t.Fatalf("class %v", h.Class)
		}
	})
}

// FuzzScan makes arbitrary bytes a pack's. A scan goes forward, through every
// byte, and what it calls sound is so.
func FuzzScan(f *testing.F) {
	a, b := blobOf(1, 10), blobOf(2, 4000)
	f.Add(bytes.Join([][]byte{a.record(), b.record(), make([]byte, 128), a.record()}, nil), true)
	f.Fuzz(func(t *testing.T, p []byte, mended bool) {
		p = bytes.Clone(p[:min(len(p), fuzzMax)])
		for off := 0; mended && off < len(p); off += 64 {
			if bytes.HasPrefix(p[off:], []byte("KVRC")) {
				mend(p[off:])
			}
		}
		d := makeDisk(t)
		fsys := d.Process()
		h, err := fsys.Open(packfile.Path(1), vfs.Create)
		if err == nil {
			_, err = h.WriteAt(p, vfs.BlockBytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := packfile.NewReader(packfile.ReaderOptions{FS: fsys})
		at := int64(vfs.BlockBytes)
		gap := func(to int64) {
			if at < to && bytes.ContainsFunc(p[at-vfs.BlockBytes:to-vfs.BlockBytes], func(r rune) bool { return r != 0 }) {
				t.Fatalf("nothing is said of what is between %d and %d", at, to)
			}
		}
		err = r.Scan(t.Context(), 1, 0, 0, func(off int64, rec []byte, err error) bool {
			if off < at {
				t.Fatalf("back to %d from %d", off, at)
			}
			gap(off)
			wantTyped(t, err)
			var damage *packfile.DamageError
			switch {
			case rec == nil && errors.As(err, &damage):
				at = off + damage.Bytes
			case rec == nil:
				t.Fatalf("no record and no damage at %d: %v", off, err)
			default:
				at = off + int64(len(rec))
				head, perr := packfile.ParseRecord(rec)
				if err == nil && (perr != nil || packfile.CheckStored(rec, head.Digest) != nil) {
					t.Fatalf("the record at %d is not sound", off)
				}
			}
			return true
		})
		gap(int64(vfs.BlockBytes + len(p)))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
