package vfs

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
)

// SectorBytes is what a disk writes whole: a part of a write that a power
// failure interrupts is a multiple of it, but for the sector it tore.
const SectorBytes = 512

// CrashMode says what is left, after a power failure, of what was not durable.
type CrashMode uint8

// The modes of a crash.
const (
	// LoseAll leaves nothing of it.
	LoseAll CrashMode = iota
	// KeepAll leaves all of it.
	KeepAll
	// Random leaves a part that the seed chooses. Of the writes to a file since
	// its last Sync, sectors remain as the dice fall, whatever their order;
	// the last sector of a write may be torn. Of the changes of its length the
	// first few remain. Of the operations on directories some or the first few
	// remain, except that what was done to a name before remains too.
	Random
	// Garbage is Random, and where data was written past the durable end of a
	// file, into no room that Allocate had reserved, any bytes are found where
	// it did not reach the disk.
	Garbage
)

// CrashOptions say how a disk crashes. The same seed leaves the same of the
// same disk.
type CrashOptions struct {
	Seed uint64
	Mode CrashMode
}

// Crash returns the disk that a power failure would leave now; d goes on as if
// there had been none. A file is lost with its name: Sync makes what is in it
// durable and SyncDir that it is there. Of a Rename either all is left or
// nothing, whichever of the two directories is made durable.
//
// A torn sector has lost nothing but bytes of the write that tore it: disks
// leave the bytes beside, which were the same before, as they were.
func (d *Disk) Crash(c CrashOptions) *Disk {
	s := d.Snapshot()
	dice := rand.New(rand.NewPCG(c.Seed, 0))
	s.survive(c.keeps(dice, len(s.journal)))
	done := map[*node]bool{}
	s.root.settle(done, func(n *node) { n.crash(c) })
	s.used = s.root.take()
	return s
}

// keeps returns what decides whether the next of count operations remains.
func (c CrashOptions) keeps(dice *rand.Rand, count int) func() bool {
	switch c.Mode {
	case LoseAll:
		return func() bool { return false }
	case KeepAll:
		return func() bool { return true }
	}
	if dice.IntN(2) == 0 {
		left := dice.IntN(count + 1)
		return func() bool {
			left--
			return left >= 0
		}
	}
	chance := chances[dice.IntN(len(chances))]
	return func() bool { return dice.Float64() < chance }
}

// chances are those that something remains: crashes where nearly nothing and
// where nearly all is lost find other faults than an even chance does.
var chances = [...]float64{0.1, 0.5, 0.9}

// settle makes what durable entries lead to the only state.
func (n *node) settle(done map[*node]bool, file func(*node)) {
	if done[n] {
		return
	}
	done[n] = true
	n.linked = true
	if !n.dir {
		file(n)
		return
	}
	n.entries = maps.Clone(n.durable)
	for _, e := range n.entries {
		e.settle(done, file)
	}
}

// crash leaves of a file what its disk has of it.
func (n *node) crash(c CrashOptions) {
	switch c.Mode {
	case LoseAll:
	case KeepAll:
		n.sync()
	default:
		n.tear(rand.New(rand.NewPCG(c.Seed, n.id)), c.Mode == Garbage)
	}
	n.dirty, n.forgot = nil, false
	n.now = n.kept.clone()
	_, end := blocksOf(0, n.now.size)
	n.room.cut(end)
	n.reserved = min(n.reserved, n.now.size)
}

// tear makes a part of the changes durable.
func (n *node) tear(dice *rand.Rand, garbage bool) {
	lengths, size := 0, n.kept.size // how often it changed, and to what
	for _, x := range n.dirty {
		if next := x.length(size); next != size {
			lengths, size = lengths+1, next
		}
	}
	if garbage {
		n.litter(dice)
	}
	left := dice.IntN(lengths + 1)
	chance := chances[dice.IntN(len(chances))]
	size, final, limit := n.kept.size, n.kept.size, int64(longest)
	for _, x := range n.dirty {
		next := x.length(size)
		alive := left > 0
		if next != size {
			left--
			if alive {
				final = next
			}
		}
		switch {
		case x.kind == write:
			n.kept.scatter(x, limit, dice, chance)
		case next < size && alive:
			n.kept.truncate(next)
		case next < size:
			// Blocks that were not given back are not written anew either.
			limit = min(limit, next)
		}
		size = next
	}
	n.kept.truncate(final)
}

// litter puts random bytes wherever data was to be written that was never there
// before.
func (n *node) litter(dice *rand.Rand) {
	end := n.kept.size
	for _, x := range n.dirty {
		from := max(x.off, end, x.reserved)
		to := x.off + int64(len(x.data))
		if x.kind == write && from < to {
			n.kept.writeAt(noise(dice, int(to-from)), from)
		}
	}
}

func noise(dice *rand.Rand, count int) []byte {
	b := make([]byte, count+7)
	for i := 0; i < count; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], dice.Uint64())
	}
	return b[:count]
}

// scatter writes some of the sectors of x, as far as they lie before limit.
func (c *content) scatter(x change, limit int64, dice *rand.Rand, chance float64) {
	off, data := x.off, x.data
	if end := off + int64(len(data)); end > limit {
		data = data[:max(0, int64(len(data))-(end-limit))]
	}
	for len(data) > 0 {
		n := min(int64(len(data)), SectorBytes-off%SectorBytes)
		if dice.Float64() < chance {
			piece := data[:n]
			if int(n) == len(data) && dice.IntN(4) == 0 {
				piece = torn(piece, dice)
			}
			c.writeAt(piece, off)
		}
		data, off = data[n:], off+n
	}
}

// torn returns a piece whose end did not reach the disk: it is not there, or is
// anything.
func torn(piece []byte, dice *rand.Rand) []byte {
	at := dice.IntN(len(piece))
	if dice.IntN(2) == 0 {
		return piece[:at]
	}
	return append(append([]byte(nil), piece[:at]...), noise(dice, len(piece)-at)...)
}
