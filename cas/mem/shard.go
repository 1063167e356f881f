package mem

import (
	"context"
	"encoding/binary"
	"iter"
	"sync"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

const shardCount = 64

// shard is one part of the table of blobs. Maps and records hold no pointers,
// so the garbage collector does not look into them however many there are.
type shard struct {
	mu    sync.RWMutex
	index map[digest.Digest]uint32 // into recs
	recs  []record
	free  []uint32 // unused records
	// aside has the digests of quarantined records that somebody still holds.
	aside  map[uint32]digest.Digest
	closed bool
	_      [32]byte // keep neighbours' locks on other cache lines
}

// record is a blob. It outlives the blob's place in the index while a session
// or a view holds it, so that its number and its room are not used again.
type record struct {
	room     room
	pins     int32  // how many entries of sessions' lists hold it
	views    int32  // views not yet released
	pinnedBy uint64 // the session that pinned it last; saves repeated pins
	released uint64 // epoch in which the last pin went
	marked   uint64 // latest collection that found it referred to
	gone     bool   // no longer in the index
}

func (sh *shard) init(blobs int) {
	sh.index = make(map[digest.Digest]uint32, blobs)
	sh.recs = make([]record, 0, blobs)
}

// close waits for the calls that saw the shard open, and refuses others.
func (sh *shard) close() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
}

// shardOf picks a shard by bits of the sum that maps do not favour.
func shardOf(d digest.Digest) int {
	sum := d.Sum()
	return int(binary.LittleEndian.Uint16(sum[:]) % shardCount)
}

func (s *Store) shard(d digest.Digest) *shard { return &s.shards[shardOf(d)] }

// addLocked puts a new blob into the index.
func (sh *shard) addLocked(d digest.Digest, r room) uint32 {
	var i uint32
	if n := len(sh.free); n > 0 {
		i = sh.free[n-1]
		sh.free = sh.free[:n-1]
	} else {
		i = uint32(len(sh.recs))
		sh.recs = append(sh.recs, record{})
	}
	sh.recs[i] = record{room: r}
	sh.index[d] = i
	return i
}

// removeLocked takes a blob out of the index, and frees its room once nobody
// holds it.
func (s *Store) removeLocked(sh *shard, d digest.Digest, i uint32) {
	delete(sh.index, d)
	r := &sh.recs[i]
	r.gone = true
	s.blobs.Add(-1)
	s.bytes.Add(-r.room.bytes)
	s.reclaimLocked(sh, i)
}

// reclaimLocked frees the record i if it is gone and nobody holds it.
func (s *Store) reclaimLocked(sh *shard, i uint32) {
	r := &sh.recs[i]
	if !r.gone || r.pins > 0 || r.views > 0 {
		return
	}
	delete(sh.aside, i)
	s.arena.free(r.room)
	r.room = room{}
	sh.free = append(sh.free, i)
}

// Blobs implements cas.Enumerator.
func (s *Store) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return func(yield func(cas.BlobInfo, error) bool) {
		var infos []cas.BlobInfo
		for i := range s.shards {
			if err := s.checkOpen(ctx, "list blobs"); err != nil {
				yield(cas.BlobInfo{}, err)
				return
			}
			infos = s.shards[i].list(infos[:0])
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// list appends the shard's blobs to infos, so that the lock is not held while
// the caller looks at them.
func (sh *shard) list(infos []cas.BlobInfo) []cas.BlobInfo {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for d, i := range sh.index {
		infos = append(infos, cas.BlobInfo{Digest: d, StoredBytes: sh.recs[i].room.bytes})
	}
	return infos
}
