package processfork_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture/processfork"
)

// stricter are the parts of our errors for texts that the original takes and
// a reader of this package never does, with the reason.
func stricter() map[string]string {
	return map[string]string{
		"is no digest of the form": "the original takes any text for a digest, and fails later or panics",
		"expected an object":       "a page or sequence as an array: an accident of its parser that no writer uses",
		"expected a string":        "a dtype as an object: likewise",
		`key "name" occurs twice`:  "a key of the Python adapters alone, of which two contradict each other",
		"lone surrogate":           "broken text under an unknown key of a page, which it skips without a look",
		"not UTF-8":                "likewise",
		"number out of range":      "likewise",
		"nested":                   "it skips any depth under an unknown key of a page",
		"exceeds":                  "a page of more than 2 GiB: its arithmetic overflows",
	}
}

// TestOriginalParses holds DecodePages against the original's parser over
// thousands of mutated manifests. What the original refuses is refused, except
// that lenient readers take manifests without logical_seqs; what it takes is
// taken with the same canonical digest, or refused for a listed reason.
func TestOriginalParses(t *testing.T) {
	t.Parallel()
	reader := os.Getenv("KVFERRY_PROCESSFORK_READER")
	if reader == "" {
		t.Skip("needs ProcessFork's crates: run make check-processfork")
	}
	texts := mutants(t, 40000)
	var in bytes.Buffer
	for _, text := range texts {
		in.WriteString(hex.EncodeToString(text) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), reader, "parse")
	cmd.Stdin = &in
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	require.Len(t, lines, len(texts))
	both, neither, reasons := 0, 0, map[string]int{}
	for i, line := range lines {
		var original struct {
			OK     bool   `json:"ok"`
			Error  string `json:"error"`
			Layout bool   `json:"layout"`
			Digest string `json:"digest"`
		}
		require.NoError(t, json.Unmarshal(line, &original))
		m, err := processfork.DecodePages(texts[i], processfork.Options{Lenient: true})
		_, strict := processfork.DecodePages(texts[i], processfork.Options{})
		switch {
		case original.OK && original.Layout && err == nil:
			text, err := m.Encode()
			require.NoError(t, err)
			require.Equal(t, original.Digest, cid(text), "%s", texts[i])
			both++
		case original.OK && original.Layout:
			require.NotEmpty(t, reason(err), "%v: %s", err, texts[i])
			reasons[reason(err)]++
		case err == nil:
			require.Contains(t, original.Error, "missing field `logical_seqs`", "%s", texts[i])
			require.Error(t, strict)
			neither++
		default:
			require.Error(t, strict, "%s", texts[i])
			neither++
		}
	}
	require.Greater(t, both, len(texts)/20)
	t.Logf("%d texts: %d taken by both, %d refused, taken by the original alone: %v", len(texts), both, neither, reasons)
}

func reason(err error) string {
	for part := range stricter() {
		if strings.Contains(err.Error(), part) {
			return part
		}
	}
	return ""
}

// mutants returns manifests of the fixtures and variations of them.
func mutants(t *testing.T, n int) [][]byte {
	t.Helper()
	var seeds [][]byte
	for _, g := range goldens(t) {
		for _, c := range g.Captures {
			if len(c.Manifest) < 4000 {
				seeds = append(seeds, []byte(c.Manifest))
			}
		}
		if len(g.Reads) > 0 {
			for _, b := range g.archive(t) {
				if len(b) > 100 && len(b) < 4000 && b[0] == '{' {
					seeds = append(seeds, b)
				}
			}
		}
	}
	corpora, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzManifest*", "*"))
	require.NoError(t, err)
	for _, f := range corpora {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, line := range strings.Split(string(data), "\n") {
			quoted, ok := strings.CutPrefix(line, "[]byte(")
			if !ok {
				continue
			}
			text, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
			require.NoError(t, err)
			seeds = append(seeds, []byte(text))
		}
	}
	require.GreaterOrEqual(t, len(seeds), 40)
	slices.SortFunc(seeds, bytes.Compare)
	rng := rand.New(rand.NewPCG(21, 22))
	texts := append([][]byte{}, seeds...)
	for len(texts) < n {
		b := bytes.Clone(seeds[rng.IntN(len(seeds))])
		for range 1 + rng.IntN(2) {
			b = mutate(rng, b, seeds)
		}
		texts = append(texts, b)
	}
	return texts
}

// mutate changes a text as JSON would be changed, or as bytes.
func mutate(rng *rand.Rand, b []byte, seeds [][]byte) []byte {
	pieces := []string{
		"0", "1", "-0", "00", "1.0", "1e3", "4294967295", "4294967296", "-1", "null", "true", `""`, "[]", "{}", " ", "\t\n", ",", ":",
		`"x":1,`, `"pages":[],`, `"logical_seqs":[],`, `"ix":7,`, `"id":"a",`, `"é"`, `"\u0041"`, `"\ud800"`, `"\ud83d\ude42"`, "\xff", "\x00", `\/`,
		`"n_layers":1,`, `"dtype":"f16",`, `"dtype":{"bf16":null},`, `"unknown":{"a":[1,{"b":"\u00e9"}]},`, `"unknown":1e999,`, "\ufeff",
		`"name":null,`, strings.Repeat("[", 130), strings.Repeat("]", 130),
	}
	at := rng.IntN(len(b) + 1)
	switch rng.IntN(9) {
	case 0: // a bit
		if at < len(b) {
			b[at] ^= 1 << rng.IntN(8)
		}
	case 1: // cut
		b = b[:at]
	case 2: // without some bytes
		end := min(len(b), at+1+rng.IntN(8))
		b = append(bytes.Clone(b[:at]), b[end:]...)
	case 3: // a piece anywhere
		b = insert(b, at, pieces[rng.IntN(len(pieces))])
	case 4: // a piece where a key may stand
		if i := bytes.IndexAny(b[at:], "{,"); i >= 0 {
			b = insert(b, at+i+1, pieces[rng.IntN(len(pieces))])
		}
	case 5: // a piece in the place of a number
		if i := bytes.IndexAny(b[at:], "0123456789"); i >= 0 {
			b = append(append(bytes.Clone(b[:at+i]), pieces[rng.IntN(12)]...), b[at+i+1:]...)
		}
	case 6: // white space between tokens
		if i := bytes.IndexAny(b[at:], "{}[],:"); i >= 0 {
			b = insert(b, at+i, " \n")
		}
	case 7: // a part of another text
		o := seeds[rng.IntN(len(seeds))]
		if len(o) > 0 {
			from := rng.IntN(len(o))
			b = insert(b, at, string(o[from:min(len(o), from+1+rng.IntN(60))]))
		}
	case 8: // a member repeated or left out
		if i := bytes.IndexByte(b[at:], ','); i >= 0 {
			if j := bytes.IndexByte(b[at+i+1:], ','); j >= 0 {
				member := string(b[at+i : at+i+1+j])
				if rng.IntN(2) == 0 {
					b = insert(b, at+i, member)
				} else {
					b = append(bytes.Clone(b[:at+i]), b[at+i+1+j:]...)
				}
			}
		}
	}
	return b
}

func insert(b []byte, at int, text string) []byte {
	out := append([]byte{}, b[:at]...)
	return append(append(out, text...), b[at:]...)
}
