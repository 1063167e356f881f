package art

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// snapReadBytes are read at a time, by several at once.
const snapReadBytes = 4 << 20

// damage is the error for a file that does not hold at an offset.
func damage(name string, off int64, what string) error {
	return fmt.Errorf("art: %s: %s at offset %d: %w", name, what, off, kvferry.ErrCorrupt)
}

// parallel calls f with 0 to n-1 on all processors, until one fails.
func parallel(n int, f func(i int) error) error {
	var at atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(at.Add(1) - 1); i < n && first.Load() == nil; i = int(at.Add(1) - 1) {
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// readWhole reads a file into memory that vfs.FreeBuffer gives back.
func readWhole(fs vfs.FS, name string) (b []byte, err error) {
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b = vfs.Buffer(int(info.Size))
	pieces := (len(b) + snapReadBytes - 1) / snapReadBytes
	err = parallel(pieces, func(i int) error {
		p := b[i*snapReadBytes : min((i+1)*snapReadBytes, len(b))]
		n, err := readFull(f, p, int64(i)*snapReadBytes)
		if err == nil && n < len(p) {
			err = damage(name, int64(i)*snapReadBytes+int64(n), "the file ends")
		}
		return err
	})
	if err != nil {
		vfs.FreeBuffer(b)
		return nil, err
	}
	return b, nil
}

// loadSnapshot returns the state of a snapshot, whose size it tells.
func loadSnapshot(fs vfs.FS, generation uint64, rules index.Rules) (s *state, h snapHead, size int64, err error) {
	name := snapshotName(generation)
	b, err := readWhole(fs, name)
	if err != nil {
		return nil, h, 0, err
	}
	defer vfs.FreeBuffer(b)
	s = newState(rules)
	h, err = s.load(name, b, generation)
	if err != nil {
		return nil, h, 0, errors.Join(err, s.drop())
	}
	return s, h, int64(len(b)), nil
}

func (x *state) load(name string, b []byte, generation uint64) (h snapHead, err error) {
	h, ok := parseSnapHead(b)
	switch {
	case !ok || h.generation != generation:
		return h, damage(name, 0, "no head of a snapshot")
	case h.version != formatVersion || h.order != order():
		return h, fmt.Errorf("art: %s: version %d of the format, byte order %x: %w", name, h.version, h.order, kvferry.ErrUnsupported)
	case h.rules != uint64(x.rules):
		return h, otherRules(name, index.Rules(h.rules))
	}
	at, err := frameOffsets(name, b, h.frames)
	if err != nil {
		return h, err
	}
	names := int(h.frames - h.chunks)
	x.extend(int(h.chunks))
	err = parallel(len(at)-1, func(i int) error {
		f := b[at[i]:at[i+1]]
		if snapSum(generation, uint64(i), f[4:]) != binary.LittleEndian.Uint32(f) {
			return damage(name, at[i], "a frame that does not hold")
		}
		return x.unpack(name, at[i], f[snapFrameHead:], i-names)
	})
	if err != nil {
		return h, err
	}
	x.next, x.arena.end, x.free = h.next, h.end, h.free
	x.blocks.root, x.hashes.root = ref(h.blocks), ref(h.hashes)
	x.count, x.oldest = counts{blocks: h.countBlocks, bytes: h.countBytes}, h.last
	for i := range int(h.chunks) {
		if n := names + i; at[n+1]-at[n] == snapFrameHead {
			x.idle = append(x.idle, uint32(i))
		}
	}
	for i := range names {
		if err := x.loadNames(b[at[i]+snapFrameHead : at[i+1]]); err != nil {
			return h, damage(name, at[i], "names that do not hold")
		}
	}
	x.hints.reserve(x.blocksIn(h.chunks))
	return h, nil
}

// blocksIn returns how many blocks the scopes have, as many as go into so many
// chunks.
func (x *state) blocksIn(chunks uint64) (n uint64) {
	most := chunks * chunkBytes / uint64(blockBytes)
	for _, s := range x.scopes.all {
		if s != nil {
			n = min(n+s.blocks, most)
		}
	}
	return n
}

func otherRules(name string, r index.Rules) error {
	return fmt.Errorf("art: %s: the index was made with the rules %d: %w", name, uint8(r), kvferry.ErrInvalid)
}

// frameOffsets returns where the frames begin, and where the last one ends.
func frameOffsets(name string, b []byte, frames uint64) ([]int64, error) {
	at, all := int64(snapHeadBytes), make([]int64, 0, min(frames, uint64(len(b)/snapFrameHead))+1)
	for range frames {
		all = append(all, at)
		if int64(len(b))-at < snapFrameHead {
			return nil, damage(name, at, "a frame is missing")
		}
		at += snapFrameHead + int64(binary.LittleEndian.Uint32(b[at+4:]))
		if at > int64(len(b)) {
			return nil, damage(name, all[len(all)-1], "a frame goes on behind the end")
		}
	}
	if at != int64(len(b)) {
		return nil, damage(name, at, "more than the frames")
	}
	return append(all, at), nil
}

// unpack fills a chunk from the data of its frame.
func (x *state) unpack(name string, off int64, data []byte, i int) error {
	if i < 0 || len(data) == 0 {
		return nil
	}
	if n, err := s2.DecodedLen(data); err != nil || n != chunkBytes {
		return damage(name, off, "a chunk of another length")
	}
	if _, err := s2.Decode(x.chunks[i][:], data); err != nil {
		return damage(name, off, "a chunk that cannot be unpacked")
	}
	return nil
}

// loadNames reads a frame of names.
func (x *state) loadNames(b []byte) error {
	e := entries{b: b}
	for len(e.b) > 0 {
		switch e.byte() {
		case entryScope:
			x.replayScope(&e)
		case entryWorker:
			x.replayWorker(&e)
		case entryAnnounce:
			wid, incarnation := e.uint32(), e.uint()
			if x.knows(&e, wid) {
				x.workers.at(wid).incarnation = incarnation
			}
		case entryScopeUse:
			id, n := e.uint32(), e.uint()
			if s := x.scopes.byID(id); s != nil && !e.bad {
				s.blocks = n
			}
		case entryWorkerUse:
			wid, first := e.uint32(), e.uint32()
			counts := [4]uint64{e.uint(), e.uint(), e.uint(), e.uint()}
			if x.knows(&e, wid) {
				w := x.workers.at(wid)
				w.first, w.blocks, w.bytes, w.volatile, w.vanishs = ref(first), counts[0], counts[1], counts[2], counts[3]
			}
		default:
			e.fail()
		}
	}
	if e.bad {
		return kvferry.ErrCorrupt
	}
	return nil
}
