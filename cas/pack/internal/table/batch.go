package table

import (
	"encoding/binary"
	"slices"
)

// batchBytes is how much a goroutine reads and sorts at a time. Sorted by
// shards, the entries of a batch visit each shard once: its lock is taken once
// and the lines that they need are fetched beside each other.
const batchBytes = 64 * blockBytes

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// batch is the memory of a goroutine of Load.
type batch struct {
	l      *loader
	mem    []byte
	read   []entry // as they come
	shards []uint16
	sorted []entry // by shard
	ends   [shardCount]int32
}

func newBatch(l *loader, bytes int64) *batch {
	return &batch{l: l, mem: make([]byte, bytes)}
}

// load brings the blocks of one batch into the table.
func (b *batch) load(number int64) error {
	b.read, b.shards = b.read[:0], b.shards[:0]
	off := number * batchBytes
	mem := b.mem[:min(batchBytes, b.l.size-off)]
	n, err := b.l.r.ReadAt(mem, b.l.from+off)
	for at := 0; at < len(mem); at += blockBytes {
		blk := mem[at:min(at+blockBytes, len(mem))]
		if err != nil && at+len(blk) > n {
			// Something in the batch cannot be read: perhaps not this block.
			if k, _ := b.l.r.ReadAt(blk, b.l.from+off+int64(at)); k < len(blk) {
				blk = blk[:k]
			}
		}
		b.parse(blk, uint64(off+int64(at))/blockBytes)
	}
	b.sort()
	return b.insert()
}

// parse appends the entries of a block.
func (b *batch) parse(blk []byte, number uint64) {
	list, ok := openBlock(blk, b.l.id, number)
	if !ok {
		b.l.missed.Add(blockEntries)
		return
	}
	n, all := len(b.read), len(list)/entryBytes
	b.read = slices.Grow(b.read, all)[:n+all]
	b.shards = slices.Grow(b.shards, all)[:n+all]
	for ; len(list) > 0; list = list[entryBytes:] {
		if shard, ok := b.l.parse(&b.read[n], list[:entryBytes]); ok {
			b.shards[n] = uint16(shard)
			n++
		}
	}
	b.l.missed.Add(int64(len(b.read) - n))
	b.read, b.shards = b.read[:n], b.shards[:n]
}

// sort puts the entries into the order of their shards.
func (b *batch) sort() {
	clear(b.ends[:])
	for _, s := range b.shards {
		b.ends[s]++
	}
	sum := int32(0)
	for i, n := range b.ends {
		b.ends[i] = sum
		sum += n
	}
	if cap(b.sorted) < len(b.read) {
		b.sorted = make([]entry, len(b.read), cap(b.read))
	}
	b.sorted = b.sorted[:len(b.read)]
	for i := range b.read {
		at := &b.ends[b.shards[i]]
		b.sorted[*at] = b.read[i]
		*at++
	}
}

// insert appends the sorted entries to their shards.
func (b *batch) insert() error {
	from := int32(0)
	for i := range b.ends {
		list := b.sorted[from:b.ends[i]]
		from = b.ends[i]
		if len(list) == 0 {
			continue
		}
		if err := b.l.t.pile(&b.l.t.shards[i], list); err != nil {
			return err
		}
	}
	return nil
}
