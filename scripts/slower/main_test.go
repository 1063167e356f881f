package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// canned is benchstat's own output of four benchmarks, ten times each: A did not
// change, B takes 20 % longer, C 20 % less, D is noise, E is new.
func canned(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/slower.csv")
	require.NoError(t, err)
	return string(text)
}

func TestSlower(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 1, run(strings.NewReader(canned(t)), &out, 5))
	require.Equal(t, `slower: B/size=1-2: +20.32% sec/op (p=0.000 n=10)
slower: B/size=1-2: -16.89% B/s (p=0.000 n=10)
slower: 2 of 7 comparisons, by more than 5 %
`, out.String())
}

func TestBound(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 0, run(strings.NewReader(canned(t)), &out, 21))
	require.Contains(t, out.String(), "slower: 0 of 7")
	require.Equal(t, 1, run(strings.NewReader(canned(t)), &out, 17), "the time alone")
}

// TestFaster turns the sides' change around: what was slower is faster.
func TestFaster(t *testing.T) {
	text := strings.NewReplacer("+20.32%", "-20.32%", "-16.89%", "+16.89%", "-20.22%", "~", "+25.35%", "~").Replace(canned(t))
	var out bytes.Buffer
	require.Equal(t, 0, run(strings.NewReader(text), &out, 5), out.String())
}

func TestNoComparison(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"one side":      ",old.txt,\n,sec/op,CI\nA-2,1e-07,1%\n",
		"other units":   ",a,,b,,,\n,B/op,CI,B/op,CI,vs base,P\nA-2,1,1%,2,1%,+100.00%,p=0.000 n=10\n",
		"broken change": ",a,,b,,,\n,sec/op,CI,sec/op,CI,vs base,P\nA-2,1,1%,2,1%,much,p=0.000 n=10\n",
		"no CSV":        "\"",
	} {
		var out bytes.Buffer
		require.Equal(t, 2, run(strings.NewReader(text), &out, 5), name)
	}
}
