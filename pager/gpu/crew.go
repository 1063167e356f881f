package gpu

import (
	"sync"

	"github.com/kvferry/kvferry/codec/planes"
)

// crew are the goroutines that code the pages of a way on the host, beside the
// way's own.
type crew struct {
	tasks   chan piece // nil if the way's own does all
	coders  []hostCoder
	errs    []error        // of the pieces of a batch
	pieces  sync.WaitGroup // under way
	workers sync.WaitGroup
}

// hostCoder is what one goroutine codes by.
type hostCoder struct {
	encoder planes.Encoder
	decoder planes.Decoder
}

// piece is some pages of a batch, from first to before end, and what codes them.
type piece struct {
	index, first, end int
	code              func(c *hostCoder, p piece) error
}

// start takes n goroutines, the way's own among them.
func (c *crew) start(n int) {
	c.coders, c.errs = make([]hostCoder, n), make([]error, n)
	if n < 2 {
		return
	}
	tasks := make(chan piece, n-1)
	c.tasks = tasks
	for i := range n - 1 {
		c.workers.Go(func() {
			for p := range tasks {
				c.errs[p.index] = p.code(&c.coders[i+1], p)
				c.pieces.Done()
			}
		})
	}
}

// stop ends them. Another stop does nothing.
func (c *crew) stop() {
	if c.tasks != nil {
		close(c.tasks)
		c.tasks = nil
	}
	c.workers.Wait()
}

// split returns where piece i of n pages begins.
func (c *crew) split(n, i int) int { return n * i / len(c.coders) }

// run codes n pages, a piece for each goroutine, the first in this one, and
// returns the first failure by the pages' order.
func (c *crew) run(n int, code func(h *hostCoder, p piece) error) error {
	clear(c.errs)
	c.pieces.Add(len(c.coders) - 1)
	for i := 1; i < len(c.coders); i++ {
		c.tasks <- piece{i, c.split(n, i), c.split(n, i+1), code}
	}
	c.errs[0] = code(&c.coders[0], piece{0, 0, c.split(n, 1), code})
	c.pieces.Wait()
	for _, err := range c.errs {
		if err != nil {
			return err
		}
	}
	return nil
}
