package index

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kvferry/kvferry/index/events"
)

// events subscribes to an engine that connects here, tells its address, and takes
// blocks until all have come. The publisher is the parent: what this process
// takes of the processors is the way from the socket into the index.
func (t *task) events(ctx context.Context, stdout io.Writer, e *Events) (err error) {
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = o.close(err) }()
	s := harnessScope()
	sub, err := events.Subscribe(o.x, events.Options{Sources: []events.Source{{
		Engine:   events.Engine{Name: harnessWorker, Model: s.Model, Tokenizer: s.Tokenizer, Tenant: s.Tenant},
		Endpoint: "tcp://127.0.0.1:0", Bind: true,
	}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sub.Close()) }()
	if _, err := fmt.Fprintln(stdout, sub.Addr(0)); err != nil {
		return err
	}
	begin := time.Now()
	for sub.Stats().Batches == 0 { // the clock starts with the first
		if err := waited(ctx, begin, t.Fill); err != nil {
			return err
		}
	}
	begin = time.Now()
	cpu, err := cpuSeconds()
	if err != nil {
		return err
	}
	for e.Resident < uint64(t.Records) && time.Since(begin) < t.Fill { // what came until then counts
		if err := waited(ctx, begin, 2*t.Fill); err != nil {
			return err
		}
		m, err := o.x.Metrics(ctx)
		if err != nil {
			return err
		}
		e.Resident = m.ResidentBlocks
	}
	took := time.Since(begin)
	after, err := cpuSeconds()
	e.Blocks, e.BlocksPerSec, e.CPUSecs = t.Records, perSecond(int(e.Resident), took), after-cpu
	e.PerCPUSec = float64(e.Resident) / e.CPUSecs
	return err
}

// waited lets a moment pass, and is an error when there was time enough.
func waited(ctx context.Context, begin time.Time, limit time.Duration) error {
	if time.Since(begin) > limit {
		return errors.New("the time is over")
	}
	select {
	case <-time.After(500 * time.Microsecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish starts a child that subscribes, and is the engine that it listens to.
func (r *run) publish(ctx context.Context, b *Backend, t task) (e Events, err error) {
	r.progress("%s: %d blocks from a socket", b.Name, t.Records)
	t.Part, t.Dir = partEvents, r.folder()
	defer func() { err = errors.Join(err, os.RemoveAll(t.Dir)) }()
	stop, err := r.serve(ctx, b, &t)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	wire := messages(t.Records)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := r.command(ctx, t)
	if err != nil {
		return e, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return e, err
	}
	if err := cmd.Start(); err != nil {
		return e, err
	}
	told := bufio.NewReader(out)
	addr, err := told.ReadString('\n')
	published := make(chan error, 1)
	go func() { published <- engine(ctx, addr, wire) }()
	if err == nil {
		err = json.NewDecoder(told).Decode(&e)
	}
	if err != nil {
		cancel()
	}
	err = errors.Join(err, cmd.Wait())
	cancel() // the engine holds its connection until then
	if err = errors.Join(err, <-published); err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return e, err
}
