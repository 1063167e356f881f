package model

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// words is a small tokenizer in which "ab" wins over "bc", and "abc" can be
// made of "ab" and "c" alone.
func words() *Tokenizer {
	t := ByteTokenizer()
	for _, p := range []struct {
		piece string
		score float32
	}{{"a", 0}, {"b", 0}, {"c", 0}, {" ", 0}, {"bc", -2}, {"ab", -1}, {"abc", -3}, {" a", -9}, {"é", 0}, {"aa", -4}} {
		t.pieces, t.scores = append(t.pieces, p.piece), append(t.scores, p.score)
	}
	t.words = true
	return t.index()
}

// encodeTokenizer writes t in the file format.
func encodeTokenizer(t *Tokenizer) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 6)
	for i, p := range t.pieces {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(t.scores[i]))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// pieces spells tokens out.
func pieces(t *Tokenizer, ids []int32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, t.pieces[id])
	}
	return out
}

func TestEncodeMerges(t *testing.T) {
	t.Parallel()
	tok := words()
	for text, want := range map[string][]string{
		"abc":  {"<s>", " ", "abc"},
		"bcab": {"<s>", " ", "bc", "ab"},
		"xa":   {"<s>", " ", "<0x78>", "a"},
		"acx":  {"<s>", " a", "c", "<0x78>"},
		"aaa":  {"<s>", " ", "aa", "a"},
		"éß":   {"<s>", " ", "é", "<0xC3>", "<0x9F>"},
		"":     {"<s>"},
	} {
		require.Equal(t, want, pieces(tok, tok.Encode(text)), "%q", text)
	}
}

// TestMergeIsGreedy compares the heap with the definition: search all pairs for
// the best, merge, repeat.
func TestMergeIsGreedy(t *testing.T) {
	t.Parallel()
	tok, r := words(), Random(1)
	for range 500 {
		text := make([]byte, r.Uint64()%40)
		for i := range text {
			text[i] = "abc "[r.Uint64()%4]
		}
		want := []int32{Begin}
		if len(text) > 0 {
			want = append(want, tok.ids[" "])
		}
		for _, b := range text {
			want = append(want, tok.ids[string(b)])
		}
		for {
			best := -1
			var to int32
			for i := 1; i+1 < len(want); i++ {
				id, ok := tok.ids[tok.pieces[want[i]]+tok.pieces[want[i+1]]]
				if ok && (best < 0 || tok.scores[id] > tok.scores[to]) {
					best, to = i, id
				}
			}
			if best < 0 {
				break
			}
			want = append(append(want[:best:best], to), want[best+2:]...)
		}
		require.Equal(t, want, tok.Encode(string(text)), "%q", text)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	tok := words()
	blankA := tok.Encode("a")[1]
	require.Equal(t, " a", tok.pieces[blankA])
	for prev, want := range map[int32]string{Begin: "a", Unknown: " a", End: " a", blankA: " a"} {
		got, err := tok.Decode(prev, blankA)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, id := range []int32{Unknown, Begin, End} {
		got, err := tok.Decode(Begin, id)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	for _, id := range []int32{-1, int32(tok.Vocab())} {
		_, err := tok.Decode(Begin, id)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		_, err = tok.DecodeAll([]int32{Begin, id})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

func TestByteTokenizer(t *testing.T) {
	t.Parallel()
	tok := ByteTokenizer()
	require.Equal(t, byteVocab, tok.Vocab())
	require.Equal(t, []int32{Begin, 'h' + firstByte, 'i' + firstByte}, tok.Encode("hi"))
	for _, text := range []string{"", " ", "hi", " leading", "Größe\x00\xff"} {
		got, err := tok.DecodeAll(tok.Encode(text))
		require.NoError(t, err)
		require.Equal(t, text, got)
	}
}

func TestParseTokenizerRefuses(t *testing.T) {
	t.Parallel()
	tok := words()
	good := encodeTokenizer(tok)
	got, err := ParseTokenizer(good, tok.Vocab())
	require.NoError(t, err)
	require.Equal(t, tok, got)
	put := func(at int, v uint32) []byte {
		b := append([]byte(nil), good...)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "no tokens": good[:4], "truncated": good[:len(good)-1], "a byte more": append(append([]byte(nil), good...), 0),
		"no bound": put(0, 0), "absurd bound": put(0, 1<<31), "bound too small": put(0, 2), "piece beyond the end": put(8, 6<<24),
		"negative length": put(8, math.MaxUint32), "score is not a number": put(4, 0x7fc00000),
	} {
		_, err := ParseTokenizer(b, tok.Vocab())
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
	for _, vocab := range []int{-1, 0, 2, MaxVocab + 1} {
		_, err := ParseTokenizer(good, vocab)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	_, err = ParseTokenizer(good, tok.Vocab()-1)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// FuzzParseTokenizer parses anything as a tokenizer; what parses must encode
// and decode any text without failing.
func FuzzParseTokenizer(f *testing.F) {
	f.Add(encodeTokenizer(words()), words().Vocab(), "abc aab é")
	f.Add([]byte{1, 0, 0, 0}, 3, "")
	f.Fuzz(func(t *testing.T, b []byte, vocab int, text string) {
		tok, err := ParseTokenizer(b, vocab)
		if err != nil {
			return
		}
		require.Equal(t, vocab, tok.Vocab())
		ids := tok.Encode(text[:min(len(text), 1000)])
		_, err = tok.DecodeAll(ids)
		require.NoError(t, err)
	})
}

// FuzzEncode: text survives a tokenizer that has all bytes.
func FuzzEncode(f *testing.F) {
	f.Add("abcabc  bca é\xff\x00")
	tok := words()
	f.Fuzz(func(t *testing.T, text string) {
		got, err := tok.DecodeAll(tok.Encode(text))
		require.NoError(t, err)
		require.Equal(t, text, got)
	})
}
