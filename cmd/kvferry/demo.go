package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/cmd/kvferry/internal/demo"
)

// childCommand is the hidden command that the demo starts its processes with.
const childCommand = "demo-child"

func (a *app) demoCommand() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Capture a serving process in the middle of generation, kill it, go on in another one",
		Long: `Demo starts a small Llama that serves several sequences with a shared prefix,
captures its paged KV cache in the middle of generation, kills the process,
restores the cache in another process, which goes on, and compares every token
with a run that nothing interrupted. It needs nothing from outside; --model and
--tokenizer take a checkpoint of llama2.c instead of the built-in seeded model.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (o.Model == "") != (o.Tokenizer == "") {
				return usage(errors.New("--model and --tokenizer go together"))
			}
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			ctx, cancel := context.WithCancelCause(c.Context())
			defer cancel(nil)
			o.Executable, o.ChildArgs, o.Log = exe, []string{childCommand}, a.err
			if !a.json {
				o.Tell = func(line string) {
					if _, err := fmt.Fprintln(a.out, line); err != nil {
						cancel(err) // a story that nobody hears ends, and its processes
					}
				}
			}
			r, err := demo.Run(ctx, o)
			if err != nil {
				return err
			}
			if err := a.print(r, func(w io.Writer) error { return writeDemo(w, r) }); err != nil {
				return err
			}
			if !r.Equal {
				return errors.New("demo: the continued run is not token for token the uninterrupted one")
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "llama2.c checkpoint `file`")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "its tokenizer `file`")
	f.StringVar(&o.Dir, "keep", "", "keep store and state in this `directory` instead of removing them")
	addDevice(c, &o.Device, "keep the serving processes' cache in the memory of the GPU with this `number`")
	f.BoolVar(&o.Sabotage, "sabotage", false, "change one expected token: the demo must fail")
	if err := f.MarkHidden("sabotage"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// addDevice adds the flag that names a GPU. Without it *number stays nil.
func addDevice(c *cobra.Command, number **int, text string) {
	c.Flags().Func("device", text, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("want the number of a GPU, 0 or more")
		}
		*number = &n
		return nil
	})
}

func (a *app) demoChildCommand() *cobra.Command {
	var o demo.ChildOptions
	c := &cobra.Command{
		Use:    childCommand,
		Short:  "Serve as a process of the demo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Serve(c.Context(), o, a.in, a.out)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "where the store and the state are")
	c.Flags().StringVar(&o.Model, "model", "", "llama2.c checkpoint file")
	c.Flags().StringVar(&o.Tokenizer, "tokenizer", "", "its tokenizer file")
	c.Flags().BoolVar(&o.Restore, "restore", false, "go on from the snapshot")
	addDevice(c, &o.Device, "number of the GPU that holds the cache")
	return c
}

func writeDemo(w io.Writer, r demo.Report) error {
	yes := "no"
	if r.Equal {
		yes = "yes"
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	err := facts(w,
		"sequences", fmt.Sprintf("%d, sharing a prefix of %s", r.Sequences, count(r.PrefixTokens, "token")),
		"pages", fmt.Sprintf("%d of %s", r.Pages, size(int64(r.PageBytes))),
		"bytes", fmt.Sprintf("%d (%s)", r.Bytes, size(r.Bytes)),
		"stored", fmt.Sprintf("%d (%s) for %s of new page data", r.StoredBytes, size(r.StoredBytes), size(r.NewBytes)),
		"pause", fmt.Sprintf("%s, copying at %s", span(seconds(r.PauseMS/1e3)), rate(r.Bytes, seconds(r.CopySeconds))),
		"capture", fmt.Sprintf("%s, %.3f GB/s into packs, durable", span(seconds(r.Capture)), r.CaptureGBps),
		"restore", fmt.Sprintf("%s, %.3f GB/s, every byte checked", span(seconds(r.Restore)), r.RestoreGBps),
		"tokens", fmt.Sprintf("%d until the snapshot, %d lost with the process, %d after the restore", r.Captured, r.Lost, r.Continued),
		"compared", fmt.Sprintf("%d tokens with the uninterrupted run", r.Compared),
	)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	for _, t := range r.Texts {
		if _, err := fmt.Fprintf(w, "%s  …%s ┃ %s…\n", t.ID, tail(t.Before, 24), head(t.After, 40)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "\ncontinued token for token: %s\n", yes)
	return err
}

func head(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func tail(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[len(r)-n:])
	}
	return s
}
