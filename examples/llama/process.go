package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/examples/llama/device"
	"github.com/kvferry/kvferry/examples/llama/engine"
	"github.com/kvferry/kvferry/examples/llama/model"
	"github.com/kvferry/kvferry/identity"
)

// process is a serving process: an engine, and what its snapshots need.
type process struct {
	engine    *engine.Engine
	tokenizer *model.Tokenizer
	identity  identity.Identity
}

// load makes the model and an empty engine.
func (o *options) load() (*process, error) {
	p := &process{tokenizer: model.ByteTokenizer()}
	var m *model.Model
	var err error
	if o.model == "" {
		p.identity = identity.Identity{Model: "seeded", Weights: fmt.Sprint(o.modelSeed)}
		m, err = model.Seeded(model.DefaultConfig(), o.modelSeed)
	} else if m, err = model.LoadFile(o.model); err == nil {
		p.identity.Model = filepath.Base(o.model)
		if p.tokenizer, err = model.LoadTokenizerFile(o.tokenizer, m.Config().Vocab); err == nil {
			p.identity.Weights, err = fileDigest(o.model)
		}
	}
	if err != nil {
		return nil, err
	}
	c := engine.Config{Pages: o.pages, PageTokens: o.pageTokens}
	if o.device != nil {
		c.Memory = device.Opener(*o.device)
	}
	p.engine, err = engine.New(m, c)
	return p, err
}

// fileDigest names the content of a file.
func fileDigest(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return "", err
	}
	return h.Sum(b).String(), nil
}

// serve runs the command.
func (o *options) serve(ctx context.Context, stdout, stderr io.Writer) (err error) {
	p, err := o.load()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.engine.Close()) }()
	if o.restore != "" {
		if err := p.restore(ctx, o.store, o.restore, stderr); err != nil {
			return err
		}
	}
	if err := p.submit(o); err != nil {
		return err
	}
	if err := p.generate(ctx, o, stderr); err != nil {
		return err
	}
	return p.print(o, stdout)
}

// submit hands the prompts to the engine, under names that no restored sequence
// has.
func (p *process) submit(o *options) error {
	number := 0
	for i, text := range o.prompts {
		r := engine.Request{
			Prompt: p.tokenizer.Encode(text), MaxTokens: o.tokens, Temperature: o.temperature, TopP: o.topP,
			Seed: o.seed + uint64(i), Stop: []int32{model.Begin, model.End},
		}
		err := kvferry.ErrExists
		for errors.Is(err, kvferry.ErrExists) {
			number++
			r.ID = fmt.Sprintf("prompt-%d", number)
			err = p.engine.Submit(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// generate steps until nothing can run, and captures on the way.
func (p *process) generate(ctx context.Context, o *options, stderr io.Writer) error {
	for step := 1; ; step++ {
		b, err := p.engine.Step(ctx)
		if err != nil {
			return err
		}
		if step == o.captureAfter {
			if err := p.capture(ctx, o.store, o.name, stderr); err != nil {
				return err
			}
			if o.stop {
				return nil
			}
		}
		if b.Rows == 0 {
			return p.finished(step, o)
		}
	}
}

// finished says why the engine stands still.
func (p *process) finished(step int, o *options) error {
	if step < o.captureAfter {
		return fmt.Errorf("all was done after %d steps, before the capture", step-1)
	}
	for _, s := range p.engine.Sequences() {
		if s.Phase != engine.Done {
			return fmt.Errorf("sequence %s is %s and cannot go on: the cache of %d pages is full", s.ID, s.Phase, o.pages)
		}
	}
	return nil
}

// print writes what the sequences have come to.
func (p *process) print(o *options, stdout io.Writer) error {
	w := bufio.NewWriter(stdout)
	if o.json {
		err := json.NewEncoder(w).Encode(p.engine.States())
		return errors.Join(err, w.Flush())
	}
	for _, s := range p.engine.States() {
		text, err := p.tokenizer.DecodeAll(s.Tokens)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", s.ID, text); err != nil {
			return err
		}
	}
	return w.Flush()
}
