package blocks

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/internal/vfs"
)

// tunedOn is how many chunks the windows of a set are tuned on.
const tunedOn = 4

// set is the chunks of one size, and memory for them to come back to. Both lie
// outside the Go heap and are aligned for direct files.
type set struct {
	size
	all, back []byte
	made      *pages.Set
	tuning    *codec.Tuning
}

// makeSets makes the chunks of every size; freeSets gives them back.
func makeSets(ctx context.Context, sc scale) (sets []*set, err error) {
	defer func() {
		if err != nil {
			freeSets(sets)
			sets = nil
		}
	}()
	for i, z := range sc.sizes {
		if err := context.Cause(ctx); err != nil {
			return sets, err
		}
		c, err := makeSet(z, sc, uint64(i))
		if err != nil {
			return sets, fmt.Errorf("blocks: %s: %w", z.name, err)
		}
		sets = append(sets, c)
	}
	return sets, nil
}

func makeSet(z size, sc scale, seed uint64) (*set, error) {
	n := max(1, sc.bytes/z.PageBytes())
	made, err := pages.Synthetic(z.Geometry, min(n, max(1, sc.unique/z.PageBytes())), seed)
	if err != nil {
		return nil, err
	}
	c := &set{size: z, made: made, tuning: new(codec.Tuning)}
	shape := planes.Shape{Segments: z.Segments(), Rows: z.Tokens, Cols: z.Channels()}
	params, err := planes.Tune(shape, made.Pages[:min(tunedOn, len(made.Pages))]...)
	if err != nil {
		return nil, err
	}
	if err := c.tuning.Add("kv", shape, params); err != nil {
		return nil, err
	}
	c.all, c.back = vfs.Buffer(n*z.PageBytes()), vfs.Buffer(n*z.PageBytes())
	for i := range n {
		copy(c.chunk(i), made.Pages[i%len(made.Pages)])
	}
	return c, nil
}

func freeSets(sets []*set) {
	for _, c := range sets {
		vfs.FreeBuffer(c.all)
		vfs.FreeBuffer(c.back)
		c.all, c.back = nil, nil
	}
}

// describe prints the statistics of the chunks, beside those of real pages.
func describe(s *harness.Section, sets []*set) {
	var made []*pages.Set
	for _, c := range sets {
		named := *c.made
		named.Name = c.name + " (" + c.what + ")"
		made = append(made, &named)
	}
	if models, err := pages.Folder(""); err == nil { // they lie beside the source, if that is here
		made = slices.Concat(models, made)
	}
	pages.Describe(s, made...)
}

// count is the number of chunks.
func (c *set) count() int { return len(c.all) / c.PageBytes() }

// chunk is one of them.
func (c *set) chunk(i int) []byte { return c.all[i*c.PageBytes():][:c.PageBytes():c.PageBytes()] }

// returned is where a chunk comes back to.
func (c *set) returned(i int) []byte {
	return c.back[i*c.PageBytes():][:c.PageBytes():c.PageBytes()]
}

// stamped is how many values of a chunk carry its number: 7 bits in each, its
// mantissa, so that what decides how far the chunk shrinks stays as it was.
const stamped = 8

// stamp makes every chunk differ from all others and from those of other rounds.
func (c *set) stamp(round int) {
	for i := range c.count() {
		number := uint64(round+1)<<32 | uint64(i)
		b := c.chunk(i)
		for v := range stamped {
			value := binary.LittleEndian.Uint16(b[2*v:])&^0x7f | uint16(number>>(7*v))&0x7f //nolint:gosec // 7 bits
			binary.LittleEndian.PutUint16(b[2*v:], value)
		}
	}
}
