package traces

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
)

// peers is the program that plays a trace on other caches, or nothing.
type peers struct {
	env  *harness.Env
	dir  string
	data string
}

// newPeers writes the trace for the program, if it is installed.
func newPeers(e *harness.Env, t *Trace) (*peers, error) {
	if e.PeerPath(peerName) == "" {
		return &peers{}, nil
	}
	dir, err := e.Folder("trace")
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	p := &peers{env: e, dir: dir, data: t.Name}
	if err := os.WriteFile(p.file(), encode(t), 0o600); err != nil {
		p.close()
		return nil, fmt.Errorf("traces: %w", err)
	}
	return p, nil
}

func (p *peers) file() string { return filepath.Join(p.dir, "trace") }

// close removes the trace; what stays behind is in a folder that goes too.
func (p *peers) close() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// round runs the program once and adds what it printed to the contests. If it
// fails that is told, it is not run again, and what it did before does not count.
func (p *peers) round(ctx context.Context, s *harness.Section, runs []*contest) error {
	if p.env == nil {
		return nil
	}
	sizes := make([]string, len(runs))
	for i, c := range runs {
		sizes[i] = strconv.Itoa(c.capacity)
	}
	got, err := p.env.RunPeer(ctx, peerName, "--trace", p.file(), "--capacity", strings.Join(sizes, ","), "--label", "data="+p.data)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		for _, c := range runs {
			for _, l := range c.peers {
				c.section.Drop(l.hits, l.leading, l.reference)
			}
			c.peers = nil
		}
		s.Fail(peerName, err)
		p.env = nil
		return nil
	}
	for _, l := range got {
		s.Version(l.Version)
		if l.Error != "" {
			s.Miss(l.Version, l.Error)
			continue
		}
		for _, c := range runs {
			c.take(l)
		}
	}
	return nil
}

// take adds a peer's line, if it is of this capacity.
func (c *contest) take(l harness.PeerLine) {
	op, rest, _ := strings.Cut(strings.TrimPrefix(l.Name, "op="), "/")
	cache, ok := strings.CutPrefix(rest, fmt.Sprintf("data=%s/capacity=%d/cache=", c.trace.Name, c.capacity))
	if !ok {
		return
	}
	p := c.peer(cache)
	f := map[string]*harness.Figure{"hits": p.hits, "leading": p.leading, "reference": p.reference}[op]
	if f != nil && f.Unit == l.Unit {
		f.Note = l.Note
		f.Add(l.Value)
	}
}

// peer returns a peer's figures, new ones if it is new.
func (c *contest) peer(cache string) *lines {
	for _, p := range c.peers {
		if p.cache == cache {
			return p
		}
	}
	c.peers = append(c.peers, c.lines(cache, harness.Peer))
	return c.peers[len(c.peers)-1]
}
