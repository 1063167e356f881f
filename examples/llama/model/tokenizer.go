package model

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kvferry/kvferry"
)

// The byte tokens, which stand behind the reserved ones.
const (
	firstByte = 3
	byteVocab = firstByte + 256
)

// Tokenizer turns text into tokens and back. It is never changed after it was
// made.
type Tokenizer struct {
	pieces []string
	scores []float32
	ids    map[string]int32 // the lowest token of each piece
	// words is set if text starts with a blank that the first word brings
	// along, as sentencepiece does it.
	words bool
}

// ByteTokenizer returns the tokenizer whose tokens are the reserved ones and
// the 256 bytes.
func ByteTokenizer() *Tokenizer {
	t := &Tokenizer{pieces: []string{"<unk>", "<s>", "</s>"}}
	for b := range 256 {
		t.pieces = append(t.pieces, fmt.Sprintf("<0x%02X>", b))
	}
	t.scores = make([]float32, len(t.pieces))
	return t.index()
}

// index builds the way back from pieces to tokens.
func (t *Tokenizer) index() *Tokenizer {
	t.ids = make(map[string]int32, len(t.pieces))
	for i := len(t.pieces) - 1; i > int(End); i-- {
		t.ids[t.pieces[i]] = int32(i)
	}
	return t
}

// Vocab returns the number of tokens.
func (t *Tokenizer) Vocab() int { return len(t.pieces) }

// Encode returns Begin and the tokens of text: its characters, or their bytes
// where the vocabulary lacks a character, merged pairwise as long as a merged
// piece exists, the one with the highest score first and the leftmost of
// equals.
func (t *Tokenizer) Encode(text string) []int32 {
	out := []int32{Begin}
	if text == "" {
		return out
	}
	if t.words {
		text = " " + text
	}
	for len(text) > 0 {
		_, n := utf8.DecodeRuneInString(text)
		out = t.appendChar(out, text[:n])
		text = text[n:]
	}
	return t.merge(out)
}

// appendChar appends the tokens of one character.
func (t *Tokenizer) appendChar(out []int32, char string) []int32 {
	if id, ok := t.ids[char]; ok {
		return append(out, id)
	}
	for _, b := range []byte(char) {
		id := Unknown
		if got, ok := t.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			id = got
		}
		out = append(out, id)
	}
	return out
}

// Decode returns the text of one token that stands behind prev. The blank of
// the first word, which Encode put there, is dropped again after Begin.
// Reserved tokens have no text; a token beyond the vocabulary is ErrInvalid.
func (t *Tokenizer) Decode(prev, token int32) (string, error) {
	if token < 0 || int(token) >= len(t.pieces) {
		return "", fmt.Errorf("model: token %d of a vocabulary of %d: %w", token, len(t.pieces), kvferry.ErrInvalid)
	}
	if token <= End {
		return "", nil
	}
	p := t.pieces[token]
	if b, ok := byteOf(p); ok {
		return string([]byte{b}), nil
	}
	if t.words && prev == Begin {
		p = strings.TrimPrefix(p, " ")
	}
	return p, nil
}

// DecodeAll returns the text of tokens, which start a sequence.
func (t *Tokenizer) DecodeAll(tokens []int32) (string, error) {
	var s strings.Builder
	prev := Unknown
	for _, id := range tokens {
		p, err := t.Decode(prev, id)
		if err != nil {
			return "", err
		}
		s.WriteString(p)
		prev = id
	}
	return s.String(), nil
}

// byteOf parses a byte's piece.
func byteOf(p string) (byte, bool) {
	if len(p) != 6 || p[:3] != "<0x" || p[5] != '>' {
		return 0, false
	}
	hi, lo := strings.IndexByte(hexDigits, p[3]), strings.IndexByte(hexDigits, p[4])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}

const hexDigits = "0123456789ABCDEF"
