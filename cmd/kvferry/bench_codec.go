package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/bench/codecs"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

func (a *app) benchCodecCommand() *cobra.Command {
	r := &suiteRun{app: a}
	c := &cobra.Command{
		Use:   "codec [FILE.kv...] [--scale SCALE] [--peers FOLDER]",
		Short: "Measure codecs of pages, on any page file",
		Long: `Codec measures kvferry's codecs for pages of bf16 beside a copy, other compressors and
ZipNN. Every codec has to give back every page bit for bit before it is timed.

With files it measures their pages: NAME.kv, beside which NAME.json tells the geometry
(n_layers, page_size_tokens, n_kv_heads, head_dim, dtype, page_bytes, pages). It prints
a line of JSON for each file and codec: ratio, encode_gbps and decode_gbps (10^9 plain
bytes per second in one thread, in cache), the same from memory, those of a copy, pages,
and n, the rounds of which a rate is the median.

Without, it measures the pages of --models and synthetic ones, and prints Go's benchmark
format, or with --json one document, as bench all does.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return r.run(c, []harness.Suite{codecs.Suite()})
			}
			return r.codecLines(c, args)
		},
	}
	r.add(c)
	r.addPeers(c)
	return c
}

// codecLines measures the pages of files.
func (r *suiteRun) codecLines(c *cobra.Command, files []string) error {
	scale, err := harness.ScaleNamed(r.scale)
	if err != nil {
		return usage(err)
	}
	if r.env.Rounds < 0 {
		return usage(fmt.Errorf("bench codec: %d rounds: want 1 or more, or 0 for those of the scale", r.env.Rounds))
	}
	if r.env.Scale = scale; r.env.Rounds == 0 {
		r.env.Rounds = scale.DefaultRounds()
	}
	if err := r.prepare(); err != nil {
		return err
	}
	sets := make([]*pages.Set, len(files))
	for i, f := range files {
		if sets[i], err = pages.Load(f); err != nil {
			return typed(err)
		}
		if same := func(s *pages.Set) bool { return s.Name == sets[i].Name }; slices.ContainsFunc(sets[:i], same) {
			return usage(fmt.Errorf("bench codec: two files are called %s: measure one after the other", sets[i].Name))
		}
	}
	lines, err := codecs.Measure(c.Context(), &r.env, sets)
	if err != nil {
		return typed(err)
	}
	e := json.NewEncoder(r.app.out)
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
