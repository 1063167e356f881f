package art

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// filled returns an index on a disk with some of everything.
func filled(t testing.TB, o Options) *vfs.Disk {
	d := vfs.NewDisk()
	o.FS = d.Process()
	x, err := Open(t.Context(), "disk", o)
	require.NoError(t, err)
	for i := range 40 {
		r := index.Record{
			Key:    index.Key{Scope: index.Scope{Model: "m", Tenant: string([]byte{byte(i % 3)})}, Prefix: "root", Hash: string([]byte{byte(i), 0}), Group: uint32(i % 2)},
			Worker: string(rune('a' + i%4)), Tier: index.Tier(1 + i%5), LastAccess: uint64(i), Pinned: i%7 == 0,
		}
		next := r
		next.Prefix, next.Hash = r.Hash, "next"
		require.NoError(t, x.Put(t.Context(), []index.Record{r, next}))
	}
	_, err = x.Remove(t.Context(), []index.Removal{{Scope: index.Scope{Model: "m", Tenant: "\x00"}, AnyAdapter: true, Worker: "a", Hash: "next", OneGroup: true}})
	require.NoError(t, err)
	require.NoError(t, x.Announce(t.Context(), "b", 1))
	require.NoError(t, x.Announce(t.Context(), "b", 2))
	_, err = x.ClearWorker(t.Context(), "c")
	require.NoError(t, err)
	_, err = x.Expire(t.Context(), 20)
	require.NoError(t, err)
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.Close())
	return d
}

func content(t testing.TB, d *vfs.Disk, name string) []byte {
	b, err := readWhole(d.Process(), name)
	require.NoError(t, err)
	defer vfs.FreeBuffer(b)
	return append([]byte(nil), b...)
}

// sealed makes the checksums of all frames hold that have lengths which do.
func sealed(b []byte, salt uint32) []byte {
	b = append([]byte(nil), b...)
	for rest := b; len(rest) >= frameHead; {
		n := frameHead + int64(binary.LittleEndian.Uint32(rest[4:]))
		if n > int64(len(rest)) {
			break
		}
		binary.LittleEndian.PutUint32(rest, crc32.Update(salt, castagnoli, rest[4:n]))
		rest = rest[n:]
	}
	return b
}

// FuzzLog opens an index whose log has any frames.
func FuzzLog(f *testing.F) {
	log := content(f, filled(f, Options{}), logName(1))
	h, _, ok := parseLogHead(log)
	require.True(f, ok)
	f.Add(log[logHeadBytes:], false)
	f.Add(log[logHeadBytes:], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, frames []byte, seal bool) {
		if seal {
			frames = sealed(frames, h.salt())
		}
		d := vfs.NewDisk()
		p := d.Process()
		file, err := p.Open(logName(1), vfs.Create)
		require.NoError(t, err)
		_, err = file.WriteAt(append(append([]byte(nil), log[:logHeadBytes]...), frames...), 0)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		x, err := Open(t.Context(), "disk", Options{FS: p})
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		require.NoError(t, x.state.check())
		require.NoError(t, x.Put(t.Context(), []index.Record{{Worker: "w", Tier: index.HBM}}))
		require.NoError(t, x.Close())
	})
}

// FuzzEntries replays any entries.
func FuzzEntries(f *testing.F) {
	log := content(f, filled(f, Options{}), logName(1))[logHeadBytes:]
	for len(log) > frameHead {
		n := frameHead + int(binary.LittleEndian.Uint32(log[4:]))
		f.Add(log[frameHead:n])
		log = log[n:]
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newState(index.AsHolt)
		defer func() { require.NoError(t, x.drop()) }()
		for range 2 {
			if err := x.replay(b); err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
			}
			require.NoError(t, x.check())
		}
	})
}

// FuzzSnapshot loads any snapshot. With seal its checksums hold, and all that is
// asked is that nothing is read or written but the arena.
func FuzzSnapshot(f *testing.F) {
	d := filled(f, Options{CompactBytes: 100})
	have, err := list(d.Process())
	require.NoError(f, err)
	g := have.snapshots[len(have.snapshots)-1]
	b := content(f, d, snapshotName(g))
	f.Add(b, false)
	f.Add(b, true)
	f.Add(b[:snapHeadBytes], true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if h, ok := parseSnapHead(b); ok && h.chunks > 64 {
			return // the memory is real
		}
		if seal && len(b) >= snapHeadBytes {
			b = append([]byte(nil), b...)
			binary.LittleEndian.PutUint32(b[snapHeadBytes-4:], crc32.Checksum(b[:snapHeadBytes-4], castagnoli))
			if h, ok := parseSnapHead(b); ok && h.chunks > 64 {
				return
			}
			rest := b[snapHeadBytes:]
			for place := uint64(0); len(rest) >= snapFrameHead; place++ {
				n := snapFrameHead + int64(binary.LittleEndian.Uint32(rest[4:]))
				if n > int64(len(rest)) {
					break
				}
				binary.LittleEndian.PutUint32(rest, snapSum(g, place, rest[4:n]))
				rest = rest[n:]
			}
		}
		x := newState(index.Recommended)
		defer func() { require.NoError(t, x.drop()) }()
		if _, err := x.load("snapshot", b, g); err != nil {
			known := errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported) || errors.Is(err, kvferry.ErrInvalid)
			require.True(t, known, err)
		}
	})
}

// TestRoomInAdvance: zeros behind the log's end are no torn change.
func TestRoomInAdvance(t *testing.T) {
	t.Parallel()
	d := filled(t, Options{})
	file, err := d.Process().Open(logName(1), vfs.ReadWrite)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	require.NoError(t, file.Truncate(info.Size+3<<20))
	for _, torn := range []int64{0, 1} {
		x, err := Open(t.Context(), "disk", Options{FS: d.Process()})
		require.NoError(t, err)
		require.Equal(t, torn, x.opened.TornBytes)
		require.Equal(t, info.Size+numbersBytes+int64(markBytes), x.log.end)
		require.NoError(t, x.Close())
		info, err = file.Stat()
		require.NoError(t, err)
		_, err = file.WriteAt([]byte{7}, info.Size)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
}
