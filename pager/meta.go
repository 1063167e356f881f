package pager

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/kvferry/kvferry"
)

// PartKind says what a part of a page holds.
type PartKind string

// The kinds of parts.
const (
	PartK      PartKind = "k"      // keys
	PartV      PartKind = "v"      // values
	PartKV     PartKind = "kv"     // keys and values interleaved as the engine packs them
	PartLatent PartKind = "latent" // compressed latent of multi-head latent attention
	PartScale  PartKind = "scale"  // quantisation scales kept apart from the elements
)

// Valid reports whether k is a known kind.
func (k PartKind) Valid() bool {
	switch k {
	case PartK, PartV, PartKV, PartLatent, PartScale:
		return true
	}
	return false
}

// Part is one ordered piece of a page. The order of a page's parts is the
// order in which they are read, hashed and stored.
type Part struct {
	Kind  PartKind
	Bytes int // length of the part in one page
	// Form names the order of the bytes within the part. FormPlain is
	// [layer][token][kv head][head dim], little-endian; any other name stands
	// for an order that only engines with the same name share.
	Form string
}

// FormPlain is the canonical order of a plain K or V part: layer-major
// [layer][token][kv head][head dim], little-endian elements.
const FormPlain = "layer.token.head.dim"

// MaxPageBytes bounds the size of one page; a larger geometry is refused.
const MaxPageBytes = 1<<31 - 1

// MaxParts bounds the number of parts of a page.
const MaxParts = 64

// Meta is the geometry of a KV group.
type Meta struct {
	PageTokens uint32 // token slots per page
	Layers     uint32 // transformer layers in this group
	KVHeads    uint32 // key/value heads stored per token on this rank
	HeadDim    uint32 // elements per head
	Dtype      Dtype
	Parts      []Part // in canonical order; shared, not to be modified
}

// Plain returns the geometry of a plain cache: part k, then part v, each
// layers x pageTokens x kvHeads x headDim elements in FormPlain. Zero
// dimensions are legal and give empty pages. A page beyond MaxPageBytes is
// ErrInvalid.
func Plain(pageTokens, layers, kvHeads, headDim uint32, dtype Dtype) (Meta, error) {
	m := Meta{PageTokens: pageTokens, Layers: layers, KVHeads: kvHeads, HeadDim: headDim, Dtype: dtype}
	n, ok := product(uint64(layers), uint64(pageTokens), uint64(kvHeads), uint64(headDim), uint64(dtype.Bytes()))
	if !ok || n > MaxPageBytes/2 {
		return Meta{}, fmt.Errorf("pager: page of %d layers x %d tokens x %d heads x %d x %v exceeds %d bytes: %w",
			layers, pageTokens, kvHeads, headDim, dtype, int64(MaxPageBytes), kvferry.ErrInvalid)
	}
	m.Parts = []Part{{PartK, int(n), FormPlain}, {PartV, int(n), FormPlain}}
	return m, m.Validate()
}

// product multiplies and reports whether the result fits 64 bits.
func product(fs ...uint64) (uint64, bool) {
	p := uint64(1)
	for _, f := range fs {
		hi, lo := bits.Mul64(p, f)
		if hi != 0 {
			return 0, slices.Contains(fs, 0)
		}
		p = lo
	}
	return p, true
}

// PageBytes returns the length of one page, all parts together.
func (m Meta) PageBytes() int {
	n := 0
	for _, p := range m.Parts {
		n += p.Bytes
	}
	return n
}

// IsPlain reports whether m is what Plain returns for its dimensions: the only
// geometry that ProcessFork's format can hold.
func (m Meta) IsPlain() bool {
	p, err := Plain(m.PageTokens, m.Layers, m.KVHeads, m.HeadDim, m.Dtype)
	return err == nil && slices.Equal(p.Parts, m.Parts)
}

// Validate returns ErrInvalid if m has no dtype, no parts, an unknown part
// kind, a negative or too large size.
func (m Meta) Validate() error {
	if !m.Dtype.Valid() {
		return fmt.Errorf("pager: geometry without a dtype: %w", kvferry.ErrInvalid)
	}
	if len(m.Parts) == 0 || len(m.Parts) > MaxParts {
		return fmt.Errorf("pager: geometry with %d parts, want 1 to %d: %w", len(m.Parts), MaxParts, kvferry.ErrInvalid)
	}
	total := int64(0)
	for i, p := range m.Parts {
		if !p.Kind.Valid() {
			return fmt.Errorf("pager: part %d has unknown kind %q: %w", i, p.Kind, kvferry.ErrInvalid)
		}
		if p.Bytes < 0 || int64(p.Bytes) > MaxPageBytes-total {
			return fmt.Errorf("pager: part %d of %d bytes (a page holds at most %d): %w", i, p.Bytes, int64(MaxPageBytes), kvferry.ErrInvalid)
		}
		if len(p.Form) > math.MaxUint8 {
			return fmt.Errorf("pager: part %d has a form name of %d bytes, want at most 255: %w", i, len(p.Form), kvferry.ErrInvalid)
		}
		total += int64(p.Bytes)
	}
	return nil
}

// Equal reports whether m and o are the same geometry.
func (m Meta) Equal(o Meta) bool {
	return m.PageTokens == o.PageTokens && m.Layers == o.Layers && m.KVHeads == o.KVHeads &&
		m.HeadDim == o.HeadDim && m.Dtype == o.Dtype && slices.Equal(m.Parts, o.Parts)
}

// Fingerprint names a canonical form: two pagers with equal fingerprints can
// exchange pages, whatever the strides in their memories.
type Fingerprint [32]byte

// String returns "blake3:" and 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return "blake3:" + hex.EncodeToString(f[:]) }

// fingerprintContext separates fingerprints from other uses of BLAKE3; it is
// part of the format.
const fingerprintContext = "kvferry 2026-11 canonical form v1"

// Fingerprint returns the fingerprint of m's canonical form: BLAKE3 in
// key-derivation mode over the four dimensions, the dtype and the parts, each
// integer as 8 bytes little-endian and each string length-prefixed.
func (m Meta) Fingerprint() Fingerprint {
	var b []byte
	num := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	text := func(s string) { num(uint64(len(s))); b = append(b, s...) }
	num(uint64(m.PageTokens))
	num(uint64(m.Layers))
	num(uint64(m.KVHeads))
	num(uint64(m.HeadDim))
	text(m.Dtype.String())
	num(uint64(len(m.Parts)))
	for _, p := range m.Parts {
		text(string(p.Kind))
		num(uint64(p.Bytes))
		text(p.Form)
	}
	var f Fingerprint
	blake3.DeriveKey(fingerprintContext, b, f[:])
	return f
}

// String returns the geometry in one line, for example
// "16 tokens x 22 layers x 4 heads x 64 bf16 (k 180224 v 180224)".
func (m Meta) String() string {
	s := fmt.Sprintf("%d tokens x %d layers x %d heads x %d %v (", m.PageTokens, m.Layers, m.KVHeads, m.HeadDim, m.Dtype)
	for i, p := range m.Parts {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%s %d", p.Kind, p.Bytes)
	}
	return s + ")"
}
