package packfile

import (
	"math/bits"
	"sync"

	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	// The memory of a reader comes in powers of two from 8 KiB to 8 MiB, each of
	// which is kept for the next read. What is longer is not kept.
	minMemoryBits = 13
	maxMemoryBits = 23
	// keptBytes bounds what is kept without being in use.
	keptBytes = 64 << 20
)

// block is memory that is aligned for direct reads.
type block struct {
	mem []byte
}

// memory lends blocks.
type memory struct {
	mu     sync.Mutex
	idle   [maxMemoryBits + 1][]*block // by the logarithm of the length
	bytes  int64                       // idle
	closed bool
}

func memoryBits(n int64) int { return max(bits.Len64(uint64(n-1)), minMemoryBits) }

// borrow returns a block of at least n > 0 bytes, of unspecified content.
func (m *memory) borrow(n int64) *block {
	k := memoryBits(n)
	if k > maxMemoryBits {
		return &block{mem: vfs.Buffer(int(roundUp(n)))}
	}
	m.mu.Lock()
	if i := len(m.idle[k]) - 1; i >= 0 {
		b := m.idle[k][i]
		m.idle[k] = m.idle[k][:i]
		m.bytes -= int64(len(b.mem))
		m.mu.Unlock()
		return b
	}
	m.mu.Unlock()
	return &block{mem: vfs.Buffer(1 << k)}
}

// giveBack ends the use of a block.
func (m *memory) giveBack(b *block) {
	k := memoryBits(int64(len(b.mem)))
	m.mu.Lock()
	keep := k <= maxMemoryBits && !m.closed && m.bytes+int64(len(b.mem)) <= keptBytes
	if keep {
		m.idle[k] = append(m.idle[k], b)
		m.bytes += int64(len(b.mem))
	}
	m.mu.Unlock()
	if !keep {
		vfs.FreeBuffer(b.mem)
	}
}

// close frees what is idle. What is still in use is freed when it comes back.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for k, idle := range m.idle {
		for _, b := range idle {
			vfs.FreeBuffer(b.mem)
		}
		m.idle[k] = nil
	}
	m.bytes = 0
}
