package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kvferry/kvferry"
)

// talk is a Python program that answers lines by lines of JSON.
type talk struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// maxLine bounds an answer.
const maxLine = 1 << 20

// python starts a program of the tools until the row is done.
func (b *bench) python(name string, args ...string) (*talk, error) {
	cmd := exec.CommandContext(b.ctx, b.options.python, append([]string{filepath.Join(b.options.tools, name)}, args...)...)
	cmd.Stderr = b.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, kvferry.ErrUnsupported, err)
	}
	t := &talk{cmd: cmd, in: in, lines: bufio.NewScanner(out)}
	t.lines.Buffer(nil, maxLine)
	b.later(func() error {
		err := t.in.Close()
		return errors.Join(err, t.cmd.Wait())
	})
	return t, nil
}

// ask writes a line, unless it is empty, and reads the answer into v.
func (t *talk) ask(line string, v any) error {
	var unwritten error
	if line != "" {
		_, unwritten = io.WriteString(t.in, line+"\n")
	}
	// One that ended before it was asked may have said why.
	if !t.lines.Scan() {
		return errors.Join(fmt.Errorf("%s ended: %w", filepath.Base(t.cmd.Args[1]), io.ErrUnexpectedEOF), unwritten, t.lines.Err())
	}
	return json.Unmarshal(t.lines.Bytes(), v)
}

// other is a matrix product of PyTorch in another process. Kernels of two
// processes take turns by slices of time, so those that copies need wait for
// whole slices: the copies suffer more than in one process, and the product less.
type other struct {
	*talk
	version string
}

var _ load = (*other)(nil)

func (o *other) name() string { return "matrix product in another process, " + o.version }
func (o *other) unit() unit   { return flops }

func (o *other) rate(d time.Duration) (float64, error) {
	var answer struct{ Flops float64 }
	err := o.ask(strconv.FormatFloat(d.Seconds(), 'f', 6, 64), &answer)
	return answer.Flops, err
}

func (b *bench) besidePyTorch(d duplex) error {
	mark := b.mark()
	t, err := b.python("matmul.py", strconv.Itoa(b.scale.matrix))
	var hello struct{ Ready, Error string }
	if err == nil {
		err = t.ask("", &hello)
	}
	if err != nil || hello.Error != "" {
		return errors.Join(b.missing("matrix product in another process", "", errors.Join(err, errorOf(hello.Error))), b.closeTo(mark))
	}
	return errors.Join(b.beside(d, &other{t, hello.Ready}, false), b.closeTo(mark))
}

// errorOf makes an error of what a program said, if it said something.
func errorOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
