package httpapi

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/blockhash"
)

// Prompt is a prompt whose blocks are to be hashed as an engine does it.
type Prompt struct {
	Tokens    []uint32
	BlockSize uint32 // tokens in a block
	Algorithm string // sha256 (vLLM's default), sha256_cbor or sglang
	HashForm  string // int ("": this), as events have hashes by default, or bytes
	Seed      string // vLLM's PYTHONHASHSEED, "" if it is not set
}

// maxBlockSize bounds the memory of a hasher.
const maxBlockSize = 1 << 20

// Hashes returns the hashes of the full blocks, as an index has them that is fed
// with the engine's events. A prompt that cannot be hashed is ErrInvalid.
func (p *Prompt) Hashes() ([]string, error) {
	algorithms := map[string]blockhash.Algorithm{"sha256": blockhash.SHA256, "sha256_cbor": blockhash.SHA256CBOR, "sglang": blockhash.SGLang}
	a, ok := algorithms[p.Algorithm]
	if !ok {
		return nil, fmt.Errorf("httpapi: hash algorithm %.100q is not one of sha256, sha256_cbor, sglang: %w", p.Algorithm, kvferry.ErrInvalid)
	}
	if p.BlockSize == 0 || p.BlockSize > maxBlockSize {
		return nil, fmt.Errorf("httpapi: blocks of %d tokens, want 1 to %d: %w", p.BlockSize, maxBlockSize, kvferry.ErrInvalid)
	}
	seed := p.Seed
	if seed == "" && a != blockhash.SGLang {
		seed = blockhash.DefaultSeed
	}
	h, err := blockhash.New(a, int(p.BlockSize), seed)
	if err != nil {
		return nil, err
	}
	form := h.AppendInt
	switch p.HashForm {
	case "", "int":
	case "bytes":
		form = blockhash.AppendText
	default:
		return nil, fmt.Errorf("httpapi: form of hashes %.100q is not int or bytes: %w", p.HashForm, kvferry.ErrInvalid)
	}
	sums := h.Hashes(p.Tokens)
	out := make([]string, len(sums))
	var text []byte
	for i := range sums {
		text = form(text[:0], &sums[i])
		out[i] = string(text)
	}
	return out, nil
}
