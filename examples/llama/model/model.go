package model

import (
	"math"
	"runtime"
)

// Reserved tokens of every vocabulary.
const (
	Unknown int32 = 0
	Begin   int32 = 1
	End     int32 = 2
)

// layer holds the weights of one transformer layer, row-major, one row per
// output.
type layer struct {
	attNorm        []float32 // [dim]
	wq, wk, wv, wo []float32 // [dim|kv dim][dim]
	ffnNorm        []float32 // [dim]
	w1, w3         []float32 // [hidden][dim]
	w2             []float32 // [dim][hidden]
}

// Model is the weights of a Llama. It is never changed after it was made, so
// that any number of goroutines may share it.
type Model struct {
	cfg    Config
	embed  []float32 // [vocab][dim]
	layers []layer
	norm   []float32 // [dim]
	head   []float32 // [vocab][dim]; embed itself where it is shared
	rope   []float32 // [seq len][head dim / 2][cos, sin]
}

// Config returns the shape of the model.
func (m *Model) Config() Config { return m.cfg }

// normEps keeps the normalisation finite; llama2.c's value.
const normEps = 1e-5

// ropeBase is the base of the rotary frequencies; llama2.c's value.
const ropeBase = 10000

// finish computes what follows from the shape.
func (m *Model) finish() *Model {
	half := m.cfg.HeadDim() / 2
	m.rope = make([]float32, m.cfg.SeqLen*half*2)
	inv := make([]float64, half)
	for i := range inv {
		inv[i] = math.Pow(ropeBase, -float64(2*i)/float64(m.cfg.HeadDim()))
	}
	for pos := range m.cfg.SeqLen {
		for i, f := range inv {
			sin, cos := math.Sincos(float64(pos) * f)
			at := (pos*half + i) * 2
			m.rope[at], m.rope[at+1] = float32(cos), float32(sin)
		}
	}
	return m
}

// rotate applies the rotary embedding of pos to the heads in v, on adjacent
// pairs.
func (m *Model) rotate(v []float32, pos int) {
	hd := m.cfg.HeadDim()
	table := m.rope[pos*hd : (pos+1)*hd]
	for ; len(v) >= hd; v = v[hd:] {
		for i := 0; i < hd; i += 2 {
			a, b, cos, sin := v[i], v[i+1], table[i], table[i+1]
			v[i] = float32(a*cos) - float32(b*sin)
			v[i+1] = float32(b*cos) + float32(a*sin)
		}
	}
}

// Workers returns the default number of goroutines that a forward pass is
// spread over.
func Workers() int { return runtime.GOMAXPROCS(0) }
