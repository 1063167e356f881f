package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/examples/llama/engine"
)

// ChildOptions of a serving process.
type ChildOptions struct {
	Dir              string // as the parent's
	Model, Tokenizer string
	Restore          bool // go on from the snapshot instead of from the prompts
	Device           *int // as the parent's
}

// child is a serving process.
type child struct {
	o      ChildOptions
	engine *engine.Engine
	store  *pack.Store

	mu  sync.Mutex
	out *json.Encoder
}

// Serve is the life of a serving process: it generates as its parent asks on
// in, and answers on out, until in ends.
func Serve(ctx context.Context, o ChildOptions, in io.Reader, out io.Writer) error {
	c := &child{o: o, out: json.NewEncoder(out)}
	err := c.serve(ctx, in)
	if err != nil {
		err = closing(err, c.tell(event{Kind: kindFailed, Error: err.Error()}))
	}
	return err
}

func (c *child) serve(ctx context.Context, in io.Reader) (err error) {
	w, err := loadWork(c.o.Model, c.o.Tokenizer)
	if err != nil {
		return err
	}
	if c.engine, err = w.engine(c.o.Device); err != nil {
		return err
	}
	defer func() { err = closing(err, c.engine.Close()) }()
	if c.store, err = pack.Open(filepath.Join(c.o.Dir, "store"), pack.Options{}); err != nil {
		return err
	}
	defer func() { err = closing(err, c.store.Close()) }()
	if c.o.Restore {
		err = c.restore(ctx)
	} else if err = w.submit(c.engine); err == nil {
		err = c.tell(event{Kind: kindReady})
	}
	if err != nil {
		return err
	}
	return c.answer(ctx, in)
}

// answer does what the parent asks for. Captures run beside the steps.
func (c *child) answer(ctx context.Context, in io.Reader) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var captures sync.WaitGroup
	defer func() {
		captures.Wait()
		if cause := context.Cause(ctx); err == nil || errors.Is(err, context.Canceled) {
			err = cause
		}
		cancel(nil)
	}()
	for s := bufio.NewScanner(in); s.Scan(); {
		switch s.Text() {
		case askStep:
			b, err := c.engine.Step(ctx)
			if err != nil {
				return err
			}
			if err := c.tell(event{Kind: kindStep, Tokens: b.Tokens, Idle: b.Rows == 0}); err != nil {
				return err
			}
		case askCapture:
			captures.Go(func() {
				if err := c.capture(ctx); err != nil {
					cancel(err)
				}
			})
		default:
			return fmt.Errorf("demo: the parent asks for %q", s.Text())
		}
	}
	return nil
}

// capture takes a snapshot of the running engine and saves the states that
// belong to it.
func (c *child) capture(ctx context.Context) error {
	p, err := c.engine.Pager()
	if err != nil {
		return err
	}
	r, err := capture.Capture(ctx, p, c.store, capture.Options{Names: []string{snapshotName}})
	if err != nil {
		return err
	}
	states := c.engine.PausedStates()
	if err := saveStates(c.o.Dir, saved{Digest: r.Root, States: states}); err != nil {
		return err
	}
	return c.tell(event{Kind: kindCaptured, Captured: &captured{
		Digest: r.Root.String(), Pages: r.Pages, Sequences: r.Sequences,
		Bytes: r.Bytes, NewBytes: r.NewBytes, StoredBytes: r.StoredBytes,
		Pause: r.Pause.Total.Seconds(), Copy: r.Pause.Copy.Seconds(), Elapsed: r.Elapsed.Seconds(), States: states,
	}})
}

// restore puts the snapshot and its states into the empty engine.
func (c *child) restore(ctx context.Context) error {
	s, err := loadStates(c.o.Dir)
	if err != nil {
		return err
	}
	p, err := c.engine.Pager()
	if err != nil {
		return err
	}
	r, err := capture.Restore(ctx, c.store, s.Digest, p, capture.RestoreOptions{})
	if err != nil {
		return err
	}
	if err := c.engine.Resume(ctx, s.States); err != nil {
		return err
	}
	return c.tell(event{Kind: kindRestored, Restored: &restored{
		Pages: r.Pages, Sequences: r.Sequences, Bytes: r.Bytes, Elapsed: r.Elapsed.Seconds(),
	}})
}

func (c *child) tell(e event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Encode(e)
}

// snapshotName is the snapshot's name in the store.
const snapshotName = "demo"

// saved is what a serving process keeps beside its snapshot.
type saved struct {
	Digest digest.Digest  `json:"digest"`
	States []engine.State `json:"states"`
}

// closing joins an error with that of giving something back.
func closing(err, back error) error {
	if back == nil {
		return err
	}
	return errors.Join(err, back)
}
