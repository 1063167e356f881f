package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
)

// PeerLine is a line of JSON that a peer's program prints to standard output.
// Everything else that it has to say goes to standard error. A program measures
// one round of what its arguments say and ends; what it could not do is a line
// with Error and status 0.
type PeerLine struct {
	// Name is that of a figure: key=value pairs with slashes between them.
	Name string `json:"name"`
	// Version is the peer's own, "zipnn 0.5.3".
	Version string  `json:"version"`
	Unit    Unit    `json:"unit"`
	Value   float64 `json:"value"`
	// Note says under which conditions that differ from ours: "no fsync, no
	// checksum".
	Note  string `json:"note,omitempty"`
	Error string `json:"error,omitempty"`
}

// ErrNoPeer says that a peer is not installed.
var ErrNoPeer = errors.New("peer is not installed")

// peerLimit ends a peer that hangs, so that a run goes on without it; none takes
// a tenth of that for a round. lingering is how long what a peer started may keep
// its output after its end.
const (
	peerLimit = 10 * time.Minute
	lingering = 10 * time.Second
)

var errHangs = errors.New("it did not end within " + peerLimit.String())

// RunPeer runs a peer once and returns its lines. A peer that is not installed
// is ErrNoPeer, one that fails, hangs or prints something else ErrInvalid.
func (e *Env) RunPeer(ctx context.Context, name string, args ...string) ([]PeerLine, error) {
	path := e.PeerPath(name)
	if path == "" {
		return nil, fmt.Errorf("bench: %s: %s: %w", name, e.Why(name), ErrNoPeer)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, peerLimit, errHangs)
	defer cancel()
	var told bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stderr, cmd.WaitDelay = e.Dir, &told, lingering
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(context.Cause(ctx), err)
		return nil, fmt.Errorf("bench: peer %s: %w: %w\n%s", name, kvferry.ErrInvalid, err, LastLines(told.Bytes()))
	}
	var lines []PeerLine
	for text := range bytes.Lines(out) {
		var l PeerLine
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("bench: peer %s printed %q: %w: %w", name, LastLines(text), kvferry.ErrInvalid, err)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// Why says why a peer is not installed, as far as its installation told: the
// first line of NAME.missing in the peers' folder.
func (e *Env) Why(name string) string {
	if e.Peers == "" {
		return "no folder of peers was given"
	}
	text, err := os.ReadFile(filepath.Join(e.Peers, name+".missing"))
	if line, _, _ := strings.Cut(string(text), "\n"); err == nil && line != "" {
		return line
	}
	return "not installed; see make bench-peers"
}

// LastLines is the end of what a program said, as much as a person wants to
// read: five lines, at most a thousand bytes.
func LastLines(b []byte) string {
	const lines, most = 5, 1000
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	text := bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
	return strings.ToValidUTF8(string(text[max(0, len(text)-most):]), "")
}
