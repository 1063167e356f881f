// Command llama is a small serving process that links kvferry: a Llama whose
// paged KV cache can be captured while it generates and restored in another
// process, which goes on token for token.
//
//	llama -prompt "Once upon a time" -n 200
//	llama -prompt "Once upon a time" -n 200 -store DIR -capture-after 40 -name half -stop
//	llama -store DIR -restore half
//
// Without -model it runs a model of random weights that follow from a seed, and
// babbles. With -model and -tokenizer it runs a checkpoint of llama2.c. Several
// -prompt make several sequences, which share the pages of a common prefix. With
// -device the cache lies in the memory of a GPU; what is generated, and what a
// snapshot holds, is the same.
//
// A snapshot in the store holds the pages and the sequences that own them. What
// the process needs beside it, tokens and the state of random numbers, goes to
// the file DIR.NAME.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"github.com/kvferry/kvferry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command line.
type options struct {
	model, tokenizer string
	modelSeed        uint64
	prompts          []string
	tokens           int
	temperature      float64
	topP             float64
	seed             uint64
	pages            int
	pageTokens       int
	store            string
	captureAfter     int
	name             string
	stop             bool
	restore          string
	json             bool
	device           *int // nil: in host memory
}

// run is the command; it returns its exit code: 0 done, 1 failed, 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = o.serve(ctx, stdout, stderr)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2 // package flag has printed it
	}
	if _, err := fmt.Fprintln(stderr, "llama:", err); err != nil {
		return 1
	}
	return 1
}

// errUsage marks a command line that cannot be run.
var errUsage = fmt.Errorf("usage: %w", kvferry.ErrInvalid)

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("llama", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.model, "model", "", "checkpoint `file` of llama2.c; none for seeded weights")
	f.StringVar(&o.tokenizer, "tokenizer", "", "tokenizer `file` of llama2.c that goes with -model")
	f.Uint64Var(&o.modelSeed, "model-seed", 1, "seed of the weights without -model")
	f.Func("prompt", "`text` to go on with; may be repeated", func(s string) error {
		o.prompts = append(o.prompts, s)
		return nil
	})
	f.IntVar(&o.tokens, "n", 128, "tokens to generate for each prompt")
	f.Float64Var(&o.temperature, "temperature", 0.8, "0 for the best token always")
	f.Float64Var(&o.topP, "top-p", 0.95, "share of probability to choose from")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the choices")
	f.IntVar(&o.pages, "pages", 256, "pages of the cache")
	f.IntVar(&o.pageTokens, "page-tokens", 16, "tokens per page")
	f.StringVar(&o.store, "store", "", "store `directory` of snapshots")
	f.IntVar(&o.captureAfter, "capture-after", 0, "capture into -store after this many `steps`")
	f.StringVar(&o.name, "name", "llama", "name of the snapshot to capture")
	f.BoolVar(&o.stop, "stop", false, "end after the capture, as if killed")
	f.StringVar(&o.restore, "restore", "", "go on from the snapshot `name` in -store")
	f.Func("device", "keep the cache in the memory of the GPU with this `number`", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number of a GPU: %w", s, kvferry.ErrInvalid)
		}
		o.device = &n
		return nil
	})
	f.BoolVar(&o.json, "json", false, "print the final states of the sequences as JSON")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, errUsage
	}
	if complaint := o.complaint(f.Args()); complaint != "" {
		_, err := fmt.Fprintln(stderr, "llama:", complaint)
		return nil, errors.Join(errUsage, err)
	}
	return o, nil
}

// complaint says what is wrong with the options, or nothing.
func (o *options) complaint(rest []string) string {
	switch {
	case len(rest) > 0:
		return fmt.Sprintf("unexpected argument %q", rest[0])
	case (o.model == "") != (o.tokenizer == ""):
		return "-model and -tokenizer go together"
	case len(o.prompts) == 0 && o.restore == "":
		return "give a -prompt, or -restore"
	case (o.restore != "" || o.captureAfter != 0) && o.store == "":
		return "-restore and -capture-after need -store"
	case o.captureAfter < 0:
		return "-capture-after counts steps from 1"
	case o.stop && o.captureAfter == 0:
		return "-stop needs -capture-after"
	}
	return ""
}
