package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/examples/llama/engine"
	"github.com/kvferry/kvferry/examples/llama/model"
)

// asCommand makes the test binary the command itself: a process of its own for
// the tests to restore in.
const asCommand = "KVFERRY_TEST_LLAMA"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// command runs the command in another process and returns its exit code. The
// tests' driver tells there, and nowhere else, what it was misused for.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append(os.Environ(), asCommand+"=1", "SOFTCUDA_STRICT=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	require.NotContains(t, errs.String(), "VIOLATION")
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// story is one model with its requests: three share a prefix of several pages.
type story struct {
	flags    []string // that make the command load the model
	prompts  []string
	tokens   int
	sampling model.Sampling
}

const prefix = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her friends. "

func seededStory(*testing.T) story {
	s := story{prompts: prompts(), tokens: 40, sampling: model.Sampling{Temperature: 0.8, TopP: 0.95}}
	if raceEnabled {
		s.tokens = 30
	}
	return s
}

func prompts() []string {
	return []string{prefix + "One day", prefix + "Her mom said", prefix + "A dog"}
}

// realStory is of the real weights, which lie outside of the repository.
func realStory(t *testing.T) story {
	t.Helper()
	dir := os.Getenv("KVFERRY_MODELS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "models")
	}
	if _, err := os.Stat(filepath.Join(dir, "stories260K.bin")); err != nil {
		if os.Getenv("KVFERRY_REQUIRE_MODELS") == "1" {
			t.Fatalf("KVFERRY_REQUIRE_MODELS is set, and there are no weights: %v", err)
		}
		t.Skipf("no real weights (set KVFERRY_MODELS to a folder with stories260K.bin): %v", err)
	}
	s := seededStory(t)
	if !raceEnabled {
		s.tokens = 90
	}
	s.flags = []string{"-model", filepath.Join(dir, "stories260K.bin"), "-tokenizer", filepath.Join(dir, "stories260K_tok512.bin")}
	return s
}

// args returns the command line that starts the story.
func (s story) args(more ...string) []string {
	args := append([]string{
		"-json", "-n", strconv.Itoa(s.tokens),
		"-temperature", strconv.FormatFloat(s.sampling.Temperature, 'g', -1, 64), "-top-p", strconv.FormatFloat(s.sampling.TopP, 'g', -1, 64),
	}, s.flags...)
	for _, p := range s.prompts {
		args = append(args, "-prompt", p)
	}
	return append(args, more...)
}

// options parses a command line, for tests that run the process here.
func (s story) options(t *testing.T, more ...string) *options {
	t.Helper()
	var stderr bytes.Buffer
	o, err := parse(s.args(more...), &stderr)
	require.NoError(t, err, stderr.String())
	return o
}

// states decodes what the command printed.
func states(t *testing.T, stdout string) []engine.State {
	t.Helper()
	var out []engine.State
	require.NoError(t, json.Unmarshal([]byte(stdout), &out), stdout)
	return out
}

// TestContinueElsewhere captures three sequences that share a prefix at five
// different steps, restores each snapshot in another process and in an engine
// that is busy with another sequence, and compares what they come to with a run
// that was never interrupted.
func TestContinueElsewhere(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(*testing.T) story{"seeded": seededStory, "real": realStory} {
		t.Run("weights="+name, func(t *testing.T) {
			t.Parallel()
			s := load(t)
			want, wantGuest := s.uninterrupted(t), s.guest().uninterrupted(t)[0]
			for _, st := range want {
				require.NotEmpty(t, st.Generated())
				require.True(t, st.Done)
			}
			// In the prefill; at its end; and in three places of the text.
			steps := []int{2, 9, 11, 24, 40}
			if raceEnabled {
				steps = []int{9, 24} // what runs at the same time does so in each of them
			}
			for _, step := range steps {
				t.Run("step="+strconv.Itoa(step), func(t *testing.T) {
					t.Parallel()
					store := filepath.Join(t.TempDir(), "store")
					before := s.capture(t, store, step)
					require.NotEqual(t, want, before, "the capture is in the middle")
					t.Run("into=process", func(t *testing.T) { s.inProcess(t, store, want) })
					t.Run("into=busy", func(t *testing.T) { s.inBusy(t, store, want, wantGuest) })
				})
			}
		})
	}
}

// uninterrupted runs the story from start to end in one go.
func (s story) uninterrupted(t *testing.T) []engine.State {
	t.Helper()
	o := s.options(t)
	var out, errs bytes.Buffer
	require.NoError(t, o.serve(t.Context(), &out, &errs))
	return states(t, out.String())
}

// capture starts the story in another process, which ends after the capture,
// and returns the states of that moment.
func (s story) capture(t *testing.T, store string, step int) []engine.State {
	t.Helper()
	code, stdout, stderr := command(t, s.args("-store", store, "-name", "cut", "-capture-after", strconv.Itoa(step), "-stop")...)
	require.Zero(t, code, stderr)
	return states(t, stdout)
}

// inProcess restores the snapshot in another process.
func (s story) inProcess(t *testing.T, store string, want []engine.State) {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"-json", "-store", store, "-restore", "cut"}, s.flags...)...)
	require.Zero(t, code, stderr)
	require.Equal(t, want, states(t, stdout))
}

// guest is the story of an engine that is busy already.
func (s story) guest() story {
	s.prompts = []string{"One day, a boy named Tim went to the park with his dog"}
	return s
}

// inBusy restores the snapshot into an engine that generates another text.
func (s story) inBusy(t *testing.T, store string, want []engine.State, wantGuest engine.State) {
	t.Helper()
	guest := s.guest()
	o := guest.options(t, "-store", store, "-restore", "cut")
	p, err := o.load()
	require.NoError(t, err)
	defer func() { require.NoError(t, p.engine.Close()) }()
	require.NoError(t, p.engine.Submit(engine.Request{
		ID: "guest", Prompt: p.tokenizer.Encode(guest.prompts[0]), MaxTokens: guest.tokens, Temperature: guest.sampling.Temperature,
		TopP: guest.sampling.TopP, Seed: 1, Stop: []int32{model.Begin, model.End},
	}))
	for range 20 {
		_, err := p.engine.Step(t.Context())
		require.NoError(t, err)
	}
	// Steps go on while the restore writes its pages.
	ctx, cancel := context.WithCancel(t.Context())
	stepped := make(chan error, 1)
	go func() {
		for {
			if b, err := p.engine.Step(ctx); err != nil || b.Rows == 0 {
				stepped <- err
				return
			}
		}
	}()
	var errs bytes.Buffer
	err = p.restore(t.Context(), o.store, o.restore, &errs)
	cancel()
	if err := <-stepped; err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, err)

	o.captureAfter = 0
	require.NoError(t, p.generate(t.Context(), o, &errs))
	got := p.engine.States()
	require.Len(t, got, len(want)+1)
	wantGuest.ID = "guest"
	require.Equal(t, wantGuest, got[0])
	require.Equal(t, want, got[1:])
}

func TestCommandRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	for name, tc := range map[string]struct {
		code int
		args []string
	}{
		"help":             {0, []string{"-h"}},
		"nothing to do":    {2, nil},
		"unknown flag":     {2, []string{"-frobnicate"}},
		"argument":         {2, []string{"-prompt", "x", "y"}},
		"model alone":      {2, []string{"-prompt", "x", "-model", "m"}},
		"no store":         {2, []string{"-prompt", "x", "-capture-after", "1"}},
		"negative step":    {2, []string{"-prompt", "x", "-capture-after", "-1", "-store", store}},
		"stop alone":       {2, []string{"-prompt", "x", "-stop"}},
		"no such model":    {1, []string{"-prompt", "x", "-model", dir + "/m", "-tokenizer", dir + "/t"}},
		"no such store":    {1, []string{"-restore", "x", "-store", dir + "/none"}},
		"cache too small":  {1, []string{"-prompt", "x", "-pages", "2"}},
		"no cache":         {1, []string{"-prompt", "x", "-pages", "0"}},
		"cache full":       {1, []string{"-prompt", "x", "-prompt", "y", "-n", "16", "-pages", "2", "-page-tokens", "16"}},
		"done too early":   {1, []string{"-prompt", "x", "-n", "3", "-capture-after", "50", "-store", store}},
		"no number":        {2, []string{"-prompt", "x", "-device", "-1"}},
		"no such device":   {1, []string{"-prompt", "x", "-device", "999"}},
		"no tokens wanted": {1, []string{"-prompt", "x", "-n", "0"}},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, tc.code, run(t.Context(), tc.args, &out, &errs), "%s: %s", name, errs.String())
		require.NotEmpty(t, errs.String(), name)
	}
}

// TestForeignSnapshot: a snapshot of other weights is not restored, nor one
// whose states are another's.
func TestForeignSnapshot(t *testing.T) {
	t.Parallel()
	s := seededStory(t)
	store := filepath.Join(t.TempDir(), "store")
	s.capture(t, store, 3)
	var out, errs bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-store", store, "-restore", "cut", "-model-seed", "2"}, &out, &errs))
	require.Contains(t, errs.String(), "identity mismatch")
	s.prompts = s.prompts[:1]
	before, err := os.ReadFile(companionPath(store, "cut"))
	require.NoError(t, err)
	s.capture(t, store, 4)
	require.NoError(t, os.WriteFile(companionPath(store, "cut"), before, 0o600))
	errs.Reset()
	require.Equal(t, 1, run(t.Context(), []string{"-store", store, "-restore", "cut"}, &out, &errs))
	require.Contains(t, errs.String(), "corrupt")
	require.NoError(t, os.WriteFile(companionPath(store, "cut"), before[:20], 0o600))
	require.Equal(t, 1, run(t.Context(), []string{"-store", store, "-restore", "cut"}, &out, &errs))
}

// TestPlainOutput runs the command as a person would.
func TestPlainOutput(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-prompt", "the ferry", "-n", "20", "-temperature", "0"}, &out, &errs), errs.String())
	require.Regexp(t, `^prompt-1: the ferry.{20}\n$`, out.String())
}
