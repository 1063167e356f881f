package model

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/kvferry/kvferry"
)

// headerBytes is the length of a checkpoint's header.
const headerBytes = 28

// LoadFile reads the checkpoint at path. A missing file is ErrNotFound, a
// damaged one ErrCorrupt.
func LoadFile(path string) (m *Model, err error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w (%w)", err, kvferry.ErrNotFound)
		}
		return nil, fmt.Errorf("model: open checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("model: checkpoint %s: %w", path, err)
	}
	m, err = Load(bufio.NewReaderSize(f, 1<<20), st.Size())
	if err != nil {
		return nil, fmt.Errorf("model: checkpoint %s: %w", path, err)
	}
	return m, nil
}

// Load reads a checkpoint of size bytes from r. A header that cannot be right,
// a size other than the header's, too few bytes and weights that are not
// finite are ErrCorrupt; nothing is allocated for weights before the header
// and the size agree.
func Load(r io.Reader, size int64) (*Model, error) {
	cfg, shared, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if want := checkpointBytes(cfg, shared); size != want {
		return nil, fmt.Errorf("model: checkpoint of %d bytes, its header wants %d: %w", size, want, kvferry.ErrCorrupt)
	}
	t := tensors{r: r}
	m := newModel(cfg, shared, t.take)
	if t.err != nil {
		return nil, fmt.Errorf("model: checkpoint: %w: %w", t.err, kvferry.ErrCorrupt)
	}
	return m.finish(), nil
}

// readHeader returns the shape and whether the classifier is the embedding.
func readHeader(r io.Reader) (Config, bool, error) {
	var b [headerBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Config{}, false, fmt.Errorf("model: checkpoint header: %w: %w", err, kvferry.ErrCorrupt)
	}
	f := func(i int) int { return int(int32(binary.LittleEndian.Uint32(b[4*i:]))) }
	c := Config{Dim: f(0), Hidden: f(1), Layers: f(2), Heads: f(3), KVHeads: f(4), Vocab: f(5), SeqLen: f(6)}
	shared := c.Vocab > 0
	if !shared {
		c.Vocab = -c.Vocab
	}
	if err := c.Validate(); err != nil {
		return Config{}, false, fmt.Errorf("%w: %w", err, kvferry.ErrCorrupt)
	}
	return c, shared, nil
}

// checkpointBytes returns the length of a checkpoint file. The bounds of a
// Config keep it within 63 bits.
func checkpointBytes(c Config, shared bool) int64 {
	n := int64(0)
	newModel(c, shared, func(rows ...int) []float32 {
		k := int64(1)
		for _, r := range rows {
			k *= int64(r)
		}
		n += k
		return nil
	})
	return headerBytes + 4*n
}

// newModel builds a model from tensors that take supplies in file order; the
// product of its arguments is the number of elements.
func newModel(c Config, shared bool, take func(dims ...int) []float32) *Model {
	m := &Model{cfg: c, layers: make([]layer, c.Layers)}
	m.embed = take(c.Vocab, c.Dim)
	each := func(field func(*layer) *[]float32, dims ...int) {
		for i := range m.layers {
			*field(&m.layers[i]) = take(dims...)
		}
	}
	each(func(l *layer) *[]float32 { return &l.attNorm }, c.Dim)
	each(func(l *layer) *[]float32 { return &l.wq }, c.Dim, c.Dim)
	each(func(l *layer) *[]float32 { return &l.wk }, c.KVDim(), c.Dim)
	each(func(l *layer) *[]float32 { return &l.wv }, c.KVDim(), c.Dim)
	each(func(l *layer) *[]float32 { return &l.wo }, c.Dim, c.Dim)
	each(func(l *layer) *[]float32 { return &l.ffnNorm }, c.Dim)
	each(func(l *layer) *[]float32 { return &l.w1 }, c.Hidden, c.Dim)
	each(func(l *layer) *[]float32 { return &l.w2 }, c.Dim, c.Hidden)
	each(func(l *layer) *[]float32 { return &l.w3 }, c.Hidden, c.Dim)
	m.norm = take(c.Dim)
	take(c.SeqLen, c.HeadDim()) // rotary tables of older readers
	m.head = m.embed
	if !shared {
		m.head = take(c.Vocab, c.Dim)
	}
	return m
}

// tensors reads float32 tensors and remembers the first failure.
type tensors struct {
	r   io.Reader
	buf []byte
	err error
}

func (t *tensors) take(dims ...int) []float32 {
	n := 1
	for _, d := range dims {
		n *= d
	}
	if t.err != nil {
		return nil
	}
	if t.buf == nil {
		t.buf = make([]byte, 1<<16)
	}
	// The announced length was checked against the size of the file, which a
	// caller may have got wrong: grow with what arrives.
	var out []float32
	for len(out) < n {
		b := t.buf[:min(len(t.buf), 4*(n-len(out)))]
		if _, err := io.ReadFull(t.r, b); err != nil {
			t.err = err
			return nil
		}
		for ; len(b) > 0; b = b[4:] {
			v := math.Float32frombits(binary.LittleEndian.Uint32(b))
			if v-v != 0 {
				t.err = fmt.Errorf("weight %v is not finite", v)
				return nil
			}
			out = append(out, v)
		}
	}
	return out
}
