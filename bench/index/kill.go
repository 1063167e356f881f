package index

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/kvferry/kvferry/index"
)

// A writer of the part that is killed does numbered calls: of eight, seven put a
// record each and the last takes the fourth of them away. Behind every
// flushEvery calls it flushes, and tells how many it had done.
const (
	killWriters = 4
	flushEvery  = 500
)

// write is the child that is killed. It tells "writer calls" line by line.
func (t *task) write(ctx context.Context, stdout io.Writer) error {
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	p := newPopulation(killWriters * t.Records)
	for _, w := range p.workers {
		if err := o.x.Announce(ctx, w, incarnation); err != nil {
			return o.close(err)
		}
	}
	err = together(killWriters, func(w int) error {
		for i := range t.Records {
			if err := killCall(ctx, o.x, p, w*t.Records, i); err != nil {
				return err
			}
			if (i+1)%flushEvery != 0 {
				continue
			}
			if err := o.x.Flush(ctx); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(stdout, "%d %d\n", w, i+1); err != nil { // one write call: whole lines
				return err
			}
		}
		<-ctx.Done() // it is killed, whatever it has done
		return ctx.Err()
	})
	return o.close(err)
}

// killCall does call i of the writer whose records begin at first.
func killCall(ctx context.Context, x index.Index, p *population, first, i int) error {
	if i%8 == 7 {
		_, err := x.Remove(ctx, []index.Removal{p.removal(first + i - 4)})
		return err
	}
	return x.Put(ctx, []index.Record{p.record(first + i)})
}

// kill lets a child write, kills it in the middle, and lets another one look.
func (r *run) kill(ctx context.Context, b *Backend, t task) (k Kill, err error) {
	r.progress("%s: killed while it writes", b.Name)
	t.Part, t.Dir = partWrite, r.folder()
	defer func() { err = errors.Join(err, os.RemoveAll(t.Dir)) }()
	stop, err := r.serve(ctx, b, &t)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cmd, err := r.command(ctx, t)
	if err != nil {
		return k, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	told, err := cmd.StdoutPipe()
	if err != nil {
		return k, err
	}
	if err := cmd.Start(); err != nil {
		return k, err
	}
	k.Flushed, err = untilKilled(told, cmd.Process, t)
	var exit *exec.ExitError
	if wait := cmd.Wait(); !errors.As(wait, &exit) || exit.Exited() {
		err = errors.Join(err, fmt.Errorf("the writer ended by itself: %w: %s", wait, bytes.TrimSpace(stderr.Bytes())))
	}
	if err != nil {
		return k, err
	}
	t.Part, t.Kill = partCheck, k
	return k, r.child(ctx, t, &k)
}

// untilKilled reads what the writers tell, and kills their process once they
// have done half of it, or at the end of the time.
func untilKilled(told io.Reader, p *os.Process, t task) ([]int, error) {
	flushed := make([]int, killWriters)
	killed := false
	begin := time.Now()
	lines := bufio.NewScanner(told)
	for lines.Scan() {
		var w, n int
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &n); err != nil || w < 0 || w >= killWriters {
			return flushed, errors.Join(fmt.Errorf("the writer told %q: %w", lines.Text(), err), p.Kill())
		}
		flushed[w] = n
		sum := 0
		for _, n := range flushed {
			sum += n
		}
		if !killed && (sum >= killWriters*t.Records/2 || time.Since(begin) > t.Fill) {
			killed = true
			if err := p.Kill(); err != nil {
				return flushed, err
			}
		}
	}
	return flushed, lines.Err()
}

// check opens what the killed process left and looks for every record.
func (t *task) check(ctx context.Context, k *Kill) (err error) {
	p := newPopulation(killWriters * t.Records)
	start := time.Now()
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = o.close(err) }()
	k.ReopenMS = milliseconds(time.Since(start))
	for _, w := range p.workers {
		if err := o.x.Announce(ctx, w, incarnation); err != nil {
			return err
		}
	}
	numbers := make(map[string]int, p.n)
	for i := range p.n {
		numbers[hashOf(i)] = i
	}
	there := make([]bool, p.n)
	_, err = o.x.Snapshot(ctx, func(r *index.Record) error {
		i, ok := numbers[r.Hash]
		k.Records++
		if !ok || *r != p.record(i) || i%t.Records%8 == 7 {
			k.Wrong++
			return nil
		}
		there[i] = true
		return nil
	})
	for i := range there {
		k.judge(there[i], i%t.Records, k.Flushed[i/t.Records])
	}
	return err
}

// judge holds record i of a writer, which had flushed n calls, against what may
// be: a call behind the last flush may have had its effect or not.
func (k *Kill) judge(there bool, i, n int) {
	put := i < n && i%8 != 7
	removed := i%8 == 3 && i+4 < n
	mayBeRemoved := i%8 == 3 && i+4 >= n
	switch {
	case put && removed && there, put && !removed && !mayBeRemoved && !there:
		k.Lost++
	case !put && there:
		k.Unflushed++
	}
}
