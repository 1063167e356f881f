package hashes

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/digest/blake3"
)

const (
	library = "hash=zeebo"
	memcpy  = "limit=memcpy"
)

// contender is something that goes through parts.
type contender struct {
	name, note string
	role       harness.Role
	// start returns what a goroutine does with a part, or with as many as it
	// takes at once; size is the longest.
	start func(size int) func(part []byte)
	// together is how many parts it takes at once, if not one.
	together int
}

// contenders are the kernels of BLAKE3, of which the library's are a peer if
// there are others; ours also with several small parts at once; and for parts of
// the usual size what sets the limit.
func contenders(size int) []contender {
	var all []contender
	kernels := blake3.Kernels()
	for _, name := range kernels {
		c := contender{name: "hash=" + name, start: func(int) func([]byte) { return blake3With(name) }}
		if c.name == library && len(kernels) > 1 {
			c.role, c.note = harness.Peer, "github.com/zeebo/blake3"
		}
		all = append(all, c)
		if c.role == harness.Ours && size <= small {
			all = append(all, contender{
				name: c.name + "-together", note: fmt.Sprintf("%d parts at once", together), together: together,
				start: func(int) func([]byte) { return manyWith(name) },
			})
		}
	}
	if size != usual {
		return all
	}
	return append(all,
		contender{name: "hash=sha256", role: harness.Peer, note: "crypto/sha256, ProcessFork's digest", start: sha256Sum},
		contender{name: "limit=crc32c", role: harness.Limit, note: "hash/crc32", start: crc32c},
		contender{name: memcpy, role: harness.Limit, note: "into a buffer in the cache", start: copyInto},
	)
}

func blake3With(kernels string) func([]byte) {
	h := blake3.New()
	if err := h.Use(kernels); err != nil {
		panic(err) // Kernels named it
	}
	return func(p []byte) { h.Sum(p) }
}

func manyWith(kernels string) func([]byte) {
	h := blake3.New()
	if err := h.Use(kernels); err != nil {
		panic(err) // Kernels named it
	}
	sums, parts := make([][32]byte, together), make([][]byte, together)
	return func(p []byte) {
		for i := range parts {
			parts[i] = p
		}
		h.SumMany(sums, parts)
	}
}

func sha256Sum(int) func([]byte) {
	return func(p []byte) { sha256.Sum256(p) }
}

func crc32c(int) func([]byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	return func(p []byte) { crc32.Checksum(p, table) }
}

func copyInto(size int) func([]byte) {
	dst := make([]byte, size)
	return func(p []byte) { copy(dst, p) }
}

// walk goes from part to part. All contenders of a group go on where the one
// before stopped, so that what is to come from memory does.
type walk struct {
	parts [][]byte
	next  int
}

// walks returns one for each of the group's goroutines.
func (g group) walks() []*walk {
	var out []*walk
	for seed := range g.threads {
		out = append(out, &walk{parts: g.parts(byte(seed))})
	}
	return out
}

// work is what each of the group's goroutines does in a burst of so many parts.
func (g group) work(c contender, walks []*walk) []func(parts int) {
	var out []func(int)
	for _, w := range walks {
		do := c.start(g.size)
		out = append(out, func(parts int) {
			for range parts / max(1, c.together) {
				do(w.parts[w.next])
				w.next = (w.next + 1) % len(w.parts)
			}
		})
	}
	return out
}

// parts returns one part, or if they are to come from memory so many that the
// first is in no cache any more after the last.
func (g group) parts(seed byte) [][]byte {
	n := 1
	if g.cold {
		n = max(1, g.memory/g.size)
	}
	all := make([]byte, n*g.size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(all) // it never fails
	parts := make([][]byte, n)
	for i := range parts {
		parts[i] = all[i*g.size:][:g.size]
	}
	return parts
}

// fastest runs the work of all goroutines, of which this one is the first,
// together in bursts for some time. It returns the bytes of all of them per
// second of the fastest burst. Bursts of several goroutines that are too short do
// not count, and make the next ones longer.
func (g group) fastest(ctx context.Context, work []func(parts int)) (float64, error) {
	begin, done := make(chan int), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(begin)
	for _, do := range work[1:] {
		wg.Go(func() {
			for parts := range begin {
				do(parts)
				done <- struct{}{}
			}
		})
	}
	burst := func(parts int) time.Duration {
		start := time.Now()
		for range work[1:] {
			begin <- parts
		}
		work[0](parts)
		for range work[1:] {
			<-done
		}
		return max(time.Since(start), 1)
	}
	parts, best := g.times(), time.Duration(0)
	for start := time.Now(); best == 0 || time.Since(start) < g.each; {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		took := burst(parts)
		switch {
		case len(work) > 1 && took < g.shared: // those before were as short
			parts, best = g.more(parts, took), 0
		case best == 0 || took < best:
			best = took
		}
	}
	return float64(parts) * float64(g.size) * float64(len(work)) / best.Seconds(), nil
}

// more is how many parts take long enough, if those took so long: a few more
// than that, and no more than eight times as many, for the first are cold.
func (g group) more(parts int, took time.Duration) int {
	enough := 1.2 * float64(parts) * float64(g.shared) / float64(took)
	return together * (1 + int(min(enough, 8*float64(parts)))/together)
}
