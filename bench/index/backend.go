package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/index/lsm"
	"github.com/kvferry/kvferry/index/memory"
	"github.com/kvferry/kvferry/index/redis"
)

// Backend is a kind of index that can be measured.
type Backend struct {
	Name string
	// Persistent tells whether what was flushed survives a crash of the machine, as
	// the backend is run here.
	Persistent bool
	// Writers put calls of Batch when a population is made: what the backend is
	// made for. One record in a call where that costs no more.
	Batch, Writers int
	// Most is the largest population that is tried, of a backend that is for few
	// records; it is asked to match shorter prompts, gets no events, and puts less
	// in a call. 0: no bound.
	Most int
	// server is the program that the backend needs, with its flags.
	server []string
	open   func(ctx context.Context, dir, addr string) (index.Index, error)
}

// Backends returns all, the simplest first.
func Backends() []*Backend {
	return []*Backend{
		{Name: "memory", Batch: 1, Writers: 1, open: func(context.Context, string, string) (index.Index, error) {
			return memory.New(memory.Options{})
		}},
		{Name: "art", Persistent: true, Batch: 1, Writers: 1, open: func(ctx context.Context, dir, _ string) (index.Index, error) {
			return art.Open(ctx, dir, art.Options{})
		}},
		{Name: "art-write", Persistent: true, Batch: 1, Writers: 1, open: func(ctx context.Context, dir, _ string) (index.Index, error) {
			return art.Open(ctx, dir, art.Options{Write: true}) // a write call for every put
		}},
		{Name: "lsm", Persistent: true, Batch: 1, Writers: 1, open: func(ctx context.Context, dir, _ string) (index.Index, error) {
			return lsm.Open(ctx, dir, lsm.Options{})
		}},
		{Name: "fsdir", Persistent: true, Batch: 1, Writers: 1, Most: 100_000, open: func(ctx context.Context, dir, _ string) (index.Index, error) {
			return fsdir.Open(ctx, dir, fsdir.Options{})
		}},
		{
			// Without a snapshot or a log, so that what is measured is the index and no
			// writing beside it: what is put is lost with the server.
			Name: "redis", Batch: 512, Writers: 4, server: []string{"redis-server", "--save", "", "--appendonly", "no"},
			open: func(ctx context.Context, _, addr string) (index.Index, error) {
				return redis.Open(ctx, redis.Options{Addresses: []string{addr}, Lease: redis.NoLease})
			},
		},
	}
}

// Names returns the names of all backends.
func Names() []string {
	var out []string
	for _, b := range Backends() {
		out = append(out, b.Name)
	}
	return out
}

// named returns one backend.
func named(name string) (*Backend, error) {
	for _, b := range Backends() {
		if b.Name == name {
			return b, nil
		}
	}
	return nil, fmt.Errorf("bench index: no backend %q, only %v: %w", name, Names(), kvferry.ErrInvalid)
}

// choose returns the backends by their names. What "all" cannot run here is
// told; a backend that is named and cannot run is ErrUnsupported.
func choose(names []string) (chosen []*Backend, missing []Missing, err error) {
	all := slices.Contains(names, "all")
	for _, b := range Backends() {
		if !all && !slices.Contains(names, b.Name) {
			continue
		}
		why := b.lacks()
		switch {
		case why == "":
			chosen = append(chosen, b)
		case all:
			missing = append(missing, Missing{b.Name, why})
		default:
			return nil, nil, fmt.Errorf("bench index: %s: %s: %w", b.Name, why, kvferry.ErrUnsupported)
		}
	}
	for _, n := range names {
		if _, err := named(n); err != nil && n != "all" {
			return nil, nil, err
		}
	}
	return chosen, missing, nil
}

// lacks says what keeps a backend from running on this machine.
func (b *Backend) lacks() string {
	if b.server == nil {
		return ""
	}
	if _, err := exec.LookPath(b.server[0]); err != nil {
		return b.server[0] + " is not installed"
	}
	return ""
}

// outlives tells whether records are there when the process that put them is gone.
func (b *Backend) outlives() bool { return b.Persistent || b.server != nil }

// runs is the command of the backend's server, as it could be given to a shell.
func (b *Backend) runs() string {
	words := make([]string, len(b.server))
	for i, w := range b.server {
		if words[i] = w; w == "" {
			words[i] = "''"
		}
	}
	return strings.Join(words, " ")
}

// opened is an index that is measured, and whose process's counts are its.
type opened struct {
	b    *Backend
	x    index.Index
	dir  string
	addr string
	pid  int
}

// open opens an index in a folder or at a server.
func (t *task) open(ctx context.Context) (*opened, error) {
	b, err := named(t.Backend)
	if err != nil {
		return nil, err
	}
	o := &opened{b: b, dir: t.Dir, addr: t.Addr, pid: t.ServerPID}
	if o.pid == 0 {
		o.pid = os.Getpid()
	}
	o.x, err = b.open(ctx, t.Dir, t.Addr)
	return o, err
}

// close closes the index, behind an error.
func (o *opened) close(err error) error {
	if o.x == nil { // a reopening failed
		return err
	}
	return errors.Join(err, o.x.Close())
}
