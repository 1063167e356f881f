package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/examples/llama/engine"
)

// companion is the file beside a store that holds what a snapshot does not.
type companion struct {
	Snapshot digest.Digest  `json:"snapshot"` // the root that the states belong to
	States   []engine.State `json:"states"`
}

// companionPath returns the file of the snapshot name in the store at path.
func companionPath(path, name string) string {
	return filepath.Clean(path) + "." + name + ".json"
}

// maxCompanionBytes bounds the file that is read into memory.
const maxCompanionBytes = 1 << 28

// save puts c where load finds it, whole or not at all.
func (c companion) save(path, name string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	to := companionPath(path, name)
	if err := os.WriteFile(to+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// loadCompanion reads the states of the snapshot e, which was asked for as
// name.
func loadCompanion(path, name string, e cas.Entry) (c companion, err error) {
	f, err := os.Open(companionPath(path, name))
	if err != nil {
		return companion{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := json.NewDecoder(io.LimitReader(f, maxCompanionBytes)).Decode(&c); err != nil {
		return companion{}, fmt.Errorf("states %s: %w: %w", f.Name(), err, kvferry.ErrCorrupt)
	}
	if c.Snapshot != e.Root {
		return companion{}, fmt.Errorf("states %s belong to snapshot %v, not to %v: %w", f.Name(), c.Snapshot, e.Root, kvferry.ErrCorrupt)
	}
	return c, nil
}

// capture takes a snapshot of the running engine.
func (p *process) capture(ctx context.Context, path, name string, stderr io.Writer) (err error) {
	pages, err := p.engine.Pager()
	if err != nil {
		return err
	}
	s, err := dir.Open(path, dir.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r, err := capture.Capture(ctx, pages, s, capture.Options{Names: []string{name}, Identity: p.identity})
	if err != nil {
		return err
	}
	if err := (companion{r.Root, p.engine.PausedStates()}).save(path, name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "captured %v: %d sequences, %d pages, %d bytes, %d stored, pause %v\n",
		r.Root, r.Sequences, r.Pages, r.Bytes, r.StoredBytes, r.Pause.Total)
	return err
}

// restore adds the sequences of a snapshot to the engine and lets them run.
func (p *process) restore(ctx context.Context, path, name string, stderr io.Writer) (err error) {
	pages, err := p.engine.Pager()
	if err != nil {
		return err
	}
	s, err := dir.Open(path, dir.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e, err := capture.Resolve(ctx, s, name)
	if err != nil {
		return err
	}
	c, err := loadCompanion(path, name, e)
	if err != nil {
		return err
	}
	r, err := capture.Restore(ctx, s, e.Root, pages, capture.RestoreOptions{Busy: true, Identity: &p.identity})
	if err != nil {
		return err
	}
	if err := p.engine.Resume(ctx, c.States); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "restored %v: %d sequences, %d pages, %d bytes in %v\n", r.Root, r.Sequences, r.Pages, r.Bytes, r.Elapsed)
	return err
}
