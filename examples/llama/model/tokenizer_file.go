package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/kvferry/kvferry"
)

// MaxPieceBytes bounds the length of a token's piece.
const MaxPieceBytes = 1 << 12

// LoadTokenizerFile reads the tokenizer at path for a vocabulary of vocab
// tokens. A missing file is ErrNotFound, a damaged one ErrCorrupt.
func LoadTokenizerFile(path string, vocab int) (t *Tokenizer, err error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w (%w)", err, kvferry.ErrNotFound)
		}
		return nil, fmt.Errorf("model: open tokenizer: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenizerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("model: tokenizer %s: %w", path, err)
	}
	if t, err = ParseTokenizer(b, vocab); err != nil {
		return nil, fmt.Errorf("model: tokenizer %s: %w", path, err)
	}
	return t, nil
}

// maxTokenizerBytes bounds the file that is read into memory.
const maxTokenizerBytes = 1 << 28

// ParseTokenizer decodes a tokenizer of exactly vocab tokens; anything else is
// ErrCorrupt. The vocabulary itself must be within the bounds of a Config, else
// ErrInvalid.
func ParseTokenizer(b []byte, vocab int) (*Tokenizer, error) {
	if vocab <= int(End) || vocab > MaxVocab {
		return nil, errorf("vocabulary of %d tokens: %w", vocab, kvferry.ErrInvalid)
	}
	if len(b) < 4 {
		return nil, errorf("tokenizer of %d bytes: %w", len(b), kvferry.ErrCorrupt)
	}
	longest := binary.LittleEndian.Uint32(b)
	if longest == 0 || longest > MaxPieceBytes {
		return nil, errorf("tokenizer with pieces of up to %d bytes, want 1 to %d: %w", longest, MaxPieceBytes, kvferry.ErrCorrupt)
	}
	t := &Tokenizer{words: true}
	b = b[4:]
	for i := range vocab {
		if len(b) < 8 {
			return nil, errorf("tokenizer ends in token %d of %d: %w", i, vocab, kvferry.ErrCorrupt)
		}
		score := math.Float32frombits(binary.LittleEndian.Uint32(b))
		n := binary.LittleEndian.Uint32(b[4:])
		if b = b[8:]; n > longest || int(n) > len(b) {
			return nil, errorf("token %d with a piece of %d bytes (at most %d, %d left): %w", i, n, longest, len(b), kvferry.ErrCorrupt)
		}
		if math.IsNaN(float64(score)) {
			return nil, errorf("token %d has no score: %w", i, kvferry.ErrCorrupt)
		}
		t.pieces, t.scores = append(t.pieces, string(b[:n])), append(t.scores, score)
		b = b[n:]
	}
	if len(b) != 0 {
		return nil, errorf("%d bytes behind the last of %d tokens: %w", len(b), vocab, kvferry.ErrCorrupt)
	}
	return t.index(), nil
}

// errorf prefixes an error with the package.
func errorf(format string, args ...any) error {
	return fmt.Errorf("model: "+format, args...)
}
