package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
)

// process is a child as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	events *bufio.Scanner
	// late is a "captured" event that came while another was waited for.
	late *captured
}

// maxEvent bounds the length of an event.
const maxEvent = 16 << 20

// start starts a serving process.
func (o Options) start(ctx context.Context, dir string, restore bool) (*process, error) {
	args := append(append([]string{}, o.ChildArgs...), "--dir", dir)
	if o.Model != "" {
		args = append(args, "--model", o.Model, "--tokenizer", o.Tokenizer)
	}
	if o.Device != nil {
		args = append(args, "--device", strconv.Itoa(*o.Device))
	}
	if restore {
		args = append(args, "--restore")
	}
	p := &process{cmd: exec.CommandContext(ctx, o.Executable, args...)}
	p.cmd.Stderr = o.Log
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("demo: start a child: %w", err)
	}
	p.in, p.events = in, bufio.NewScanner(out)
	p.events.Buffer(nil, maxEvent)
	return p, nil
}

// pid returns the process id.
func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ask(what string) error {
	if _, err := io.WriteString(p.in, what+"\n"); err != nil {
		return fmt.Errorf("demo: ask process %d: %w", p.pid(), err)
	}
	return nil
}

// await returns the next event of a kind. A "captured" event that comes before
// it is kept.
func (p *process) await(kind string) (event, error) {
	for p.events.Scan() {
		var e event
		if err := json.Unmarshal(p.events.Bytes(), &e); err != nil {
			return e, fmt.Errorf("demo: process %d says %.100q: %w", p.pid(), p.events.Text(), err)
		}
		switch {
		case e.Kind == kind:
			return e, nil
		case e.Kind == kindCaptured:
			p.late = e.Captured
		case e.Kind == kindFailed:
			return e, fmt.Errorf("demo: process %d: %s", p.pid(), e.Error)
		default:
			return e, fmt.Errorf("demo: process %d says %s instead of %s", p.pid(), e.Kind, kind)
		}
	}
	return event{}, fmt.Errorf("demo: process %d ended before it was %s: %w", p.pid(), kind, orEOF(p.events.Err()))
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// step asks for one step and returns it.
func (p *process) step() (event, error) {
	if err := p.ask(askStep); err != nil {
		return event{}, err
	}
	return p.await(kindStep)
}

// kill ends the process by SIGKILL and says whether that is how it died.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("demo: kill process %d: %w", p.pid(), err)
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		return fmt.Errorf("demo: process %d was to be killed but ended by itself: %w", p.pid(), err)
	}
	return nil
}

// finish ends the process by the end of its input.
func (p *process) finish() error {
	if err := closing(p.in.Close(), p.cmd.Wait()); err != nil {
		return fmt.Errorf("demo: process %d: %w", p.pid(), err)
	}
	return nil
}

// abandon ends a process after an error; a second end is no failure.
func (p *process) abandon() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
