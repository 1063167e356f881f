package codecs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

// peerName is the program that measures ZipNN, and zstd and lz4 in C.
const peerName = "zipnn"

// peers are the figures of the peer's program. Lines that belong to no set or
// carry an error are kept as what is missing.
type peers struct {
	dir     string // with the pages of all sets, "" if there is no peer
	files   []string
	figures []*harness.Figure
	version []string
	missing []string
	failed  error
}

// newPeers writes the pages to where the peer can read them. close removes
// them.
func newPeers(e *harness.Env, sets []*pages.Set) *peers {
	p := &peers{}
	if e.PeerPath(peerName) == "" {
		p.failed = harness.ErrNoPeer
		return p
	}
	if p.dir, p.failed = e.Folder("codec-pages"); p.failed != nil {
		return p
	}
	for _, s := range sets {
		if p.failed = s.Save(p.dir); p.failed != nil {
			return p
		}
		p.files = append(p.files, filepath.Join(p.dir, s.Name+".kv"))
	}
	return p
}

func (p *peers) close() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // the harness tells of what is left
	}
}

// round runs the peer once. One that fails is not run again, which the section
// tells; only the end of ctx is an error.
func (p *peers) round(ctx context.Context, e *harness.Env) error {
	if p.failed == nil {
		e.Log("codec: peer %s", peerName)
		var lines []harness.PeerLine
		args := append([]string{"--codecs", "zipnn,zstd-1,lz4", "--of", "part,file", "--best", "3"}, p.files...)
		lines, p.failed = e.RunPeer(ctx, peerName, args...)
		for i := range lines {
			p.take(&lines[i])
		}
		if p.failed != nil {
			p.figures = nil // of the rounds before
		}
	}
	return context.Cause(ctx)
}

// take adds a line's value to its figure.
func (p *peers) take(l *harness.PeerLine) {
	if l.Error != "" {
		p.missing = append(p.missing, l.Name+": "+l.Error)
		return
	}
	p.version = append(p.version, l.Version)
	f := p.figure(l.Name)
	if f == nil {
		f = &harness.Figure{Name: l.Name, Unit: l.Unit, Role: harness.Peer, Note: l.Note}
		p.figures = append(p.figures, f)
	}
	if l.Unit == harness.Times && len(f.Samples) > 0 {
		return // a ratio, which no round changes
	}
	f.Add(l.Value)
}

func (p *peers) figure(name string) *harness.Figure {
	i := slices.IndexFunc(p.figures, func(f *harness.Figure) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return p.figures[i]
}

// found are the figures of one codec on one set, nil if they are missing.
type found struct{ ratio, encode, decode *harness.Figure }

func (p *peers) rates(set *pages.Set, codec string) found {
	of := func(op string) *harness.Figure {
		return p.figure("op=" + op + "/codec=" + codec + "/data=" + set.Name + "/of=part")
	}
	return found{of("ratio"), of("encode"), of("decode")}
}

// codecs are the names of those that the peer measured on a set.
func (p *peers) codecs(set *pages.Set) []string {
	var out []string
	for _, f := range p.figures {
		if c := codecOf(f.Name); strings.Contains(f.Name, "/data="+set.Name+"/") && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// codecOf is the codec that a figure's name tells.
func codecOf(name string) string {
	for pair := range strings.SplitSeq(name, "/") {
		if c, ok := strings.CutPrefix(pair, "codec="); ok {
			return c
		}
	}
	return name
}

// report adds the peer's figures to the section, and why some are missing.
func (p *peers) report(s *harness.Section) {
	s.Figures = append(s.Figures, p.figures...)
	for _, v := range p.version {
		s.Version(v)
	}
	for _, m := range slices.Compact(p.missing) {
		s.Miss(peerName, m)
	}
	switch {
	case errors.Is(p.failed, harness.ErrNoPeer):
		s.Miss("zipnn, zstd and lz4 in C", "not installed; see make bench-peers")
	case p.failed != nil:
		s.Fail("zipnn, zstd and lz4 in C", p.failed)
	}
}
