package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is why a context ended: the process was asked to end.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return "ended by a signal: " + i.by.String() }

// Is makes it a cancellation like any other.
func (i interrupted) Is(target error) bool { return target == context.Canceled }

// interruptible returns a context that ends with the first signal that asks the
// process to end, so that commands clean up. A second signal ends a process
// whose cancellation hangs. Signals that the process was started to ignore, as
// by nohup, stay ignored. A closed pipe is an error of writing from now on and
// not the end of the process.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	asked := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(asked, s)
		}
	}
	pipes := make(chan os.Signal, 1) // nobody reads it: the writer has the error
	signal.Notify(pipes, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-asked:
			cancel(interrupted{s})
		case <-ctx.Done():
		}
		signal.Stop(asked)
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		signal.Stop(pipes)
	}
}

// errReaderGone is returned by writing to standard output after its reader
// closed it, as head does.
var errReaderGone = errors.New("nobody reads the output any more")

// output is standard output.
type output struct{ w io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errReaderGone
	}
	return n, err
}
