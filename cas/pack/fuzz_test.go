package pack

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// counter counts operations, and writes them again.
type counter struct {
	ops ops
	n   int
}

func (c *counter) add(pack uint64, class cas.Class, newest int64, b stored) error {
	c.n++
	c.ops.add(pack, class, newest, []stored{b})
	return nil
}

func (c *counter) remove(pack uint64, d digest.Digest, off int64) error {
	c.n++
	c.ops.remove(pack, []stored{{d: d, off: off}})
	return nil
}
func (c *counter) drop(pack uint64) error               { c.n++; c.ops.drop(pack); return nil }
func (c *counter) snapshot(e cas.Entry)                 { c.n++; c.ops.snapshot(e) }
func (c *counter) name(name string, root digest.Digest) { c.n++; c.ops.name(name, root) }
func (c *counter) unname(name string)                   { c.n++; c.ops.unname(name) }
func (c *counter) forget(root digest.Digest)            { c.n++; c.ops.forget(root) }
func (c *counter) quarantine(p uint64, b stored) error  { c.n++; c.ops.quarantine(p, b); return nil }
func (c *counter) pardon()                              { c.n++; c.ops.pardon() }

func (c *counter) condemn(pack uint64, d digest.Digest, off int64) {
	c.n++
	c.ops.condemn(pack, []stored{{d: d, off: off}})
}

func (c *counter) pack(id uint64, class cas.Class, end, newest int64) error {
	c.n++
	p := &packInfo{id: id, class: class}
	p.end.Store(end)
	p.newest.Store(newest)
	c.ops.pack(p)
	return nil
}

func fuzzDigest(b byte) digest.Digest {
	return digest.New(digest.BLAKE3, [digest.Size]byte{b, 1, 2, 3})
}

// someOps has every operation.
func someOps() ops {
	var o ops
	p := &packInfo{id: 9, class: cas.Cache}
	p.end.Store(8192)
	o.pack(p)
	o.add(7, cas.Snapshot, 1700000000, []stored{{fuzzDigest(1), 4096, 128}, {fuzzDigest(2), 4224, 64}})
	o.add(9, cas.Cache, 1, []stored{{fuzzDigest(3), 4096, 64}})
	o.snapshot(cas.Entry{Root: fuzzDigest(1), Format: cas.FormatNative, Created: time.Unix(5, 6), Pages: 1, Bytes: 2, Image: fuzzDigest(4)})
	o.name("a", fuzzDigest(1))
	o.condemn(7, []stored{{fuzzDigest(2), 4224, 0}})
	o.pardon()
	o.quarantine(7, stored{fuzzDigest(2), 4224, 64})
	o.unname("a")
	o.remove(7, []stored{{fuzzDigest(1), 4096, 0}})
	o.forget(fuzzDigest(1))
	o.drop(9)
	return o
}

// FuzzOps applies arbitrary transactions. What can be read is written the same
// way again, and applied to a state twice it ends where once does.
func FuzzOps(f *testing.F) {
	f.Add([]byte(someOps()))
	f.Add([]byte{opAdd, 1, 0, 1, 255, 255, 255, 255, 15})
	f.Add([]byte{99})
	s := &Store{reader: packfile.NewReader(packfile.ReaderOptions{FS: vfs.NewDisk().Process()})}
	f.Cleanup(func() { require.NoError(f, s.reader.Close()) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		var once, twice counter
		err := apply(payload, &once)
		require.LessOrEqual(t, once.n, len(payload))
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		require.NoError(t, apply(once.ops, &twice))
		require.Equal(t, once.ops, twice.ops)
		st, err := s.emptyState()
		require.NoError(t, err)
		defer st.table.Close()
		if err := apply(payload, st); err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		first := stateText(st)
		require.NoError(t, apply(payload, st))
		require.Equal(t, first, stateText(st))
	})
}

// stateText is the state as a checkpoint would keep it, in any order.
func stateText(st *state) map[string]int {
	out := map[string]int{}
	entries, _ := st.entries()
	for _, e := range entries {
		var o ops
		o.snapshot(e)
		for _, n := range e.Names {
			o.name(n, e.Root)
		}
		out[string(o)]++
	}
	for _, p := range st.packs.all() {
		var o ops
		o.pack(p)
		o.number(uint64(p.blobs.Load()))
		o.number(uint64(p.live.Load()))
		o.number(uint64(p.quarantined.Load()))
		out[string(o)]++
	}
	return out
}

// FuzzCheckpoint loads arbitrary bytes as a checkpoint, with checksums that
// hold if mend is set.
func FuzzCheckpoint(f *testing.F) {
	r := buildRuin(f, true)
	good := []byte(contentOf(f, r.disk)[files(r.disk, "index/*.idx")[0]])
	s := &Store{id: [16]byte(good[16:32]), reader: packfile.NewReader(packfile.ReaderOptions{FS: r.disk.Process()})}
	f.Cleanup(func() { require.NoError(f, s.reader.Close()) })
	generation := binary.LittleEndian.Uint64(good[32:])
	f.Add(good[:headBytes], good[vfs.BlockBytes:], true)
	f.Add(good[:headBytes], good[vfs.BlockBytes:len(good)-5000], false)
	f.Add([]byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, head, rest []byte, mend bool) {
		b := make([]byte, vfs.BlockBytes, vfs.BlockBytes+len(rest))
		copy(b, head[:min(len(head), headBytes)])
		b = append(b, rest...)
		if mend {
			le := binary.LittleEndian
			if n := le.Uint64(b[40:]); n <= uint64(len(rest)) {
				le.PutUint32(b[48:], crc32.Checksum(rest[:n], castagnoli))
			}
			le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
		}
		file, err := vfs.NewDisk().Process().Open("x", vfs.Create)
		require.NoError(t, err)
		_, err = file.WriteAt(b, 0)
		require.NoError(t, err)
		st, err := s.loadCheckpoint(file, generation, "x")
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		st.table.Close()
	})
}

// FuzzPins reads arbitrary bytes as what a session of another process holds.
func FuzzPins(f *testing.F) {
	head := make([]byte, pinHeaderBytes)
	copy(head, pinMagic)
	head[8] = 1
	f.Add(slices.Concat(head, []byte{1, 2, 3, 4, 5, 6, 7, 8}), int64(0))
	f.Add(head[:50], int64(1))
	f.Add([]byte("something else"), int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, now int64) {
		p := vfs.NewDisk().Process()
		file, err := p.Open("x", vfs.Create)
		require.NoError(t, err)
		_, err = file.WriteAt(b, 0)
		require.NoError(t, err)
		var held holdSet
		live, err := (&Store{fs: p}).readPins("x", time.Unix(0, now), &held)
		if err != nil {
			require.True(t, known(err), "%v", err)
			return
		}
		for i := pinHeaderBytes; live && i+8 <= len(b); i += 8 {
			if prefix := binary.LittleEndian.Uint64(b[i:]); prefix != 0 {
				require.True(t, held.has(prefix))
			}
		}
	})
}

// FuzzMarker reads arbitrary bytes as kvferry.json.
func FuzzMarker(f *testing.F) {
	f.Add([]byte(`{"format":"kvferry-pack","version":1,"id":"000102030405060708090a0b0c0d0e0f"}`))
	f.Add([]byte(`{"format":"kvferry-pack","version":99}`))
	f.Add([]byte(`{"id":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Store{}
		m, err := parseMarker("root", b)
		if err == nil {
			err = s.accept(m)
		}
		if err != nil {
			require.True(t, errors.Is(err, kvferry.ErrCorrupt) || known(err), "%v", err)
		}
	})
}
