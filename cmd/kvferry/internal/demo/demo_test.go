package demo

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cmd/kvferry/internal/demo/demotest"
	"github.com/kvferry/kvferry/examples/llama/engine"
	"github.com/kvferry/kvferry/examples/llama/model"
)

// TestMain is also the children's main: the first argument says what they are.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			os.Exit(serveMain(os.Args[2:]))
		case "die":
			os.Exit(7)
		case "chatter":
			fmt.Println("hello")
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

func serveMain(args []string) int {
	var o ChildOptions
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.StringVar(&o.Dir, "dir", "", "")
	f.StringVar(&o.Model, "model", "", "")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "")
	f.BoolVar(&o.Restore, "restore", false, "")
	f.Func("device", "", func(s string) error {
		n, err := strconv.Atoi(s)
		o.Device = &n
		return err
	})
	if err := f.Parse(args); err != nil {
		return 2
	}
	if err := Serve(context.Background(), o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// tiny returns options for a run with a model that costs next to nothing.
func tiny(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	checkpoint, tokenizer, err := demotest.WriteModel(dir)
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	return Options{
		Model: checkpoint, Tokenizer: tokenizer, Dir: filepath.Join(dir, "demo"),
		Executable: exe, ChildArgs: []string{"serve"},
	}
}

func TestRunContinuesTokenForToken(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	var story, log bytes.Buffer
	o.Tell, o.Log = func(line string) { fmt.Fprintln(&story, line) }, &log
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.True(t, r.Equal)
	require.Empty(t, log.String())
	require.Equal(t, 4, r.Sequences)
	require.Greater(t, r.PrefixTokens, 100)
	// The prefix is there once: four copies of it would not fit these pages.
	require.Less(t, r.Pages, 4*r.PrefixTokens/pageTokens)
	require.Equal(t, int64(r.Pages*r.PageBytes), r.Bytes)
	require.Equal(t, 4*mostTokens, r.Compared)
	require.Equal(t, r.Compared, r.Captured+r.Continued)
	// In the middle: something came before the snapshot, was lost with the
	// process, and was made again.
	require.GreaterOrEqual(t, r.Captured, 4*(mostTokens/3-1))
	require.Positive(t, r.Lost)
	require.Greater(t, r.Continued, r.Lost)
	require.Equal(t, o.Dir, r.Dir)
	for _, part := range []string{"serves 4 sequences", "in the middle of generation", "killed (SIGKILL)", "every byte checked"} {
		require.Contains(t, story.String(), part)
	}
	restoreOfWhatIsDamaged(t, o)
}

// restoreOfWhatIsDamaged goes on from the store that a run left behind.
func restoreOfWhatIsDamaged(t *testing.T, o Options) {
	t.Helper()
	c := ChildOptions{Dir: o.Dir, Model: o.Model, Tokenizer: o.Tokenizer, Restore: true}
	var out bytes.Buffer
	require.NoError(t, Serve(t.Context(), c, strings.NewReader("s\n"), &out))
	require.Contains(t, out.String(), `"kind":"restored"`)
	require.Contains(t, out.String(), `"kind":"step"`)

	packs, err := filepath.Glob(filepath.Join(o.Dir, "store", "packs", "*.pack"))
	require.NoError(t, err)
	require.NotEmpty(t, packs)
	for _, p := range packs {
		b, err := os.ReadFile(filepath.Clean(p))
		require.NoError(t, err)
		for at := 4096 + 256; at < len(b); at += 512 { // something of every page, and not only headers
			b[at] ^= 1
		}
		require.NoError(t, os.WriteFile(p, b, 0o600))
	}
	out.Reset()
	require.ErrorIs(t, Serve(t.Context(), c, strings.NewReader("s\n"), &out), kvferry.ErrCorrupt)
	require.Contains(t, out.String(), `"kind":"failed"`)
	require.NotContains(t, out.String(), `"kind":"step"`)

	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, statesFile), []byte("{"), 0o600))
	require.ErrorIs(t, Serve(t.Context(), c, strings.NewReader(""), &out), kvferry.ErrCorrupt)
	require.NoError(t, os.Remove(filepath.Join(o.Dir, statesFile)))
	require.ErrorIs(t, Serve(t.Context(), c, strings.NewReader(""), &out), fs.ErrNotExist)
}

func TestSabotageIsFound(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	o.Dir, o.Sabotage = "", true
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.False(t, r.Equal)
	require.Empty(t, r.Dir)
}

// stateOf is the state of a request after it generated tokens.
func stateOf(r engine.Request, generated []int32) engine.State {
	return engine.State{ID: r.ID, Tokens: slices.Concat(r.Prompt, generated), Prompt: len(r.Prompt)}
}

// A difference is found wherever it is.
func TestCompareFindsEveryDifference(t *testing.T) {
	t.Parallel()
	w, err := loadWork("", "")
	require.NoError(t, err)
	tell := func(change func(*story, map[string][]int32)) bool {
		s := &story{work: w, streamed: map[string][]int32{}, goneOn: map[string][]int32{}}
		want := map[string][]int32{}
		for i, r := range w.requests {
			st := stateOf(r, []int32{70, 71, 72})
			s.capture.States = append(s.capture.States, st)
			s.streamed[r.ID] = []int32{70, 71, 72, 73}
			s.goneOn[r.ID] = []int32{73, 74, int32(75 + i)}
			want[r.ID] = []int32{70, 71, 72, 73, 74, int32(75 + i)}
		}
		change(s, want)
		var rep Report
		require.NoError(t, s.compare(&rep, want))
		return rep.Equal
	}
	require.True(t, tell(func(*story, map[string][]int32) {}))
	id := w.requests[2].ID
	for name, change := range map[string]func(*story, map[string][]int32){
		"saved token":        func(s *story, _ map[string][]int32) { s.capture.States[2].Tokens[len(w.requests[2].Prompt)]++ },
		"streamed token":     func(s *story, _ map[string][]int32) { s.streamed[id][3]++ },
		"streamed too few":   func(s *story, _ map[string][]int32) { s.streamed[id] = s.streamed[id][:2] },
		"streamed too many":  func(s *story, _ map[string][]int32) { s.streamed[id] = append(s.streamed[id], 1, 2, 3, 4) },
		"continued token":    func(s *story, _ map[string][]int32) { s.goneOn[id][1]++ },
		"continued too few":  func(s *story, _ map[string][]int32) { s.goneOn[id] = s.goneOn[id][:2] },
		"continued too many": func(s *story, _ map[string][]int32) { s.goneOn[id] = append(s.goneOn[id], 76) },
		"not continued": func(s *story, want map[string][]int32) {
			s.goneOn[id], want[id] = nil, want[id][:3]
			s.streamed[id] = s.streamed[id][:3]
		},
		"sequence missing": func(s *story, _ map[string][]int32) { s.capture.States = s.capture.States[1:] },
		"pages missing":    func(s *story, _ map[string][]int32) { s.restore.Pages-- },
	} {
		require.False(t, tell(change), name)
	}
}

func TestRunTellsWhenAChildFails(t *testing.T) {
	t.Parallel()
	for _, child := range []string{"die", "chatter"} {
		o := tiny(t)
		o.ChildArgs = []string{child}
		_, err := Run(t.Context(), o)
		require.Error(t, err, child)
	}
	o := tiny(t)
	o.Executable = filepath.Join(t.TempDir(), "missing")
	_, err := Run(t.Context(), o)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestRunRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	o.Tokenizer = ""
	_, err := Run(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	o = tiny(t)
	require.NoError(t, os.Truncate(o.Model, 100))
	_, err = Run(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Run(ctx, tiny(t))
	require.ErrorIs(t, err, context.Canceled)
}

func TestServeRefusesUnknownQuestions(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	require.NoError(t, os.MkdirAll(o.Dir, 0o700))
	var out bytes.Buffer
	err := Serve(t.Context(), ChildOptions{Dir: o.Dir, Model: o.Model, Tokenizer: o.Tokenizer}, strings.NewReader("?\n"), &out)
	require.ErrorContains(t, err, `"?"`)
}

// A model with too little room for a middle is refused.
func TestWorkNeedsRoom(t *testing.T) {
	t.Parallel()
	c := model.DefaultConfig()
	c.SeqLen = 190
	m, err := model.Seeded(c, 1)
	require.NoError(t, err)
	w := &work{model: m, tokenizer: model.ByteTokenizer()}
	require.ErrorIs(t, w.prepare(), kvferry.ErrInvalid)
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a b·c é", printable("a\nb\x01c é"))
	require.Equal(t, "··", printable("\xff\xfe"))
}
