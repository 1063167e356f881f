package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/kvferry/kvferry"
)

// Parts are what a child does.
const (
	partHarness    = "harness"
	partPopulation = "population"
	partWrite      = "write" // until it is killed
	partCheck      = "check" // what a killed one left
	partEvents     = "events"
)

// task is what a child does, in a process of its own: one that can be killed,
// and whose memory and bytes are the backend's.
type task struct {
	Part    string        `json:"part"`
	Backend string        `json:"backend"`
	Dir     string        `json:"dir"`
	Addr    string        `json:"addr,omitempty"` // of the backend's server
	Harness Harness       `json:"harness"`
	Records int           `json:"records"`
	Clients int           `json:"clients"`
	Each    time.Duration `json:"each"`
	Fill    time.Duration `json:"fill"`
	// ServerPID is whose bytes and memory count; 0: the child's own.
	ServerPID int `json:"server_pid,omitempty"`
	// Kill is what the writing child had acknowledged, for the check.
	Kill Kill `json:"kill"`
}

// Child does the task that its one argument describes, and writes what it found.
func Child(ctx context.Context, args []string, stdout io.Writer) error {
	var t task
	if len(args) != 1 {
		return fmt.Errorf("bench index: a child wants one task: %w", kvferry.ErrInvalid)
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return fmt.Errorf("bench index: task: %w: %w", kvferry.ErrInvalid, err)
	}
	out, err := t.do(ctx, stdout)
	if err != nil {
		return fmt.Errorf("bench index: %s of %s: %w", t.Part, t.Backend, err)
	}
	return json.NewEncoder(stdout).Encode(out)
}

func (t *task) do(ctx context.Context, stdout io.Writer) (any, error) {
	switch t.Part {
	case partHarness:
		var rep Report
		return &rep, t.harness(ctx, &rep)
	case partPopulation:
		var p Population
		return &p, t.population(ctx, &p)
	case partWrite:
		return nil, t.write(ctx, stdout)
	case partCheck:
		k := t.Kill
		return &k, t.check(ctx, &k)
	case partEvents:
		var e Events
		return &e, t.events(ctx, stdout, &e)
	}
	return nil, fmt.Errorf("no such part: %w", kvferry.ErrInvalid)
}

// harness runs the original's workload, closes the index and opens it again.
func (t *task) harness(ctx context.Context, rep *Report) (err error) {
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = o.close(err) }()
	if err := t.Harness.run(ctx, o, rep); err != nil || !o.b.outlives() {
		return err
	}
	if err := o.x.Close(); err != nil {
		return err
	}
	start := time.Now()
	if o.x, err = o.b.open(ctx, o.dir, o.addr); err != nil {
		return err
	}
	ms := milliseconds(time.Since(start))
	rep.RecoveryMS = &ms
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// part does a task in a child, with a folder and a server of its own.
func (r *run) part(ctx context.Context, b *Backend, t task, found any) (err error) {
	r.progress("%s: %s, %d records", b.Name, t.Part, t.Records)
	t.Dir = r.folder()
	defer func() { err = errors.Join(err, os.RemoveAll(t.Dir)) }()
	stop, err := r.serve(ctx, b, &t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return r.child(ctx, t, found)
}

// child does a task in a child.
func (r *run) child(ctx context.Context, t task, found any) error {
	cmd, err := r.command(ctx, t)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return json.Unmarshal(out, found)
}

// command is that of a child.
func (r *run) command(ctx context.Context, t task) (*exec.Cmd, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	args := append(append([]string{}, r.Self[1:]...), string(text))
	cmd := exec.CommandContext(ctx, r.Self[0], args...)
	cmd.WaitDelay = 10 * time.Second
	return cmd, nil
}
