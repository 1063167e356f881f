package blocks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
)

// enginePrograms are the peers, by the names of their executables.
func enginePrograms() []string { return []string{"lmcache", "sglang", "vllm-fs"} }

// engines runs the engines' file tiers.
type engines struct {
	env     *harness.Env
	section *harness.Section
	dir     string
	args    []string
	there   []string
	figures []*harness.Figure
	by      map[string][]*harness.Figure // of them, those that each program told of
	told    map[string]bool              // errors, each once
}

// newEngines looks which of them are installed and writes what they are to
// store: the bytes of the set that has most.
func newEngines(e *harness.Env, s *harness.Section, sets []*set) (*engines, error) {
	x := &engines{env: e, section: s, by: make(map[string][]*harness.Figure), told: make(map[string]bool)}
	for _, name := range enginePrograms() {
		if e.PeerPath(name) == "" {
			s.Miss(name, e.Why(name))
			continue
		}
		x.there = append(x.there, name)
	}
	if len(x.there) == 0 {
		return x, nil
	}
	dir, err := e.Folder("engines")
	if err != nil {
		return nil, err
	}
	x.dir = dir
	var data []byte
	for _, c := range sets {
		if len(c.all) > len(data) {
			data = c.all
		}
		x.args = append(x.args, "--set", fmt.Sprintf("%dx%d:size=%s", c.PageBytes(), c.count(), c.name))
	}
	file := filepath.Join(dir, "data")
	if err := os.WriteFile(file, bytes.Clone(data), 0o600); err != nil {
		x.close()
		return nil, fmt.Errorf("blocks: %w", err)
	}
	x.args = append([]string{"--dir", dir, "--data", file}, x.args...)
	return x, nil
}

// close removes what they were given; what stays behind is in a folder that
// goes too.
func (x *engines) close() {
	if x.dir != "" {
		_ = os.RemoveAll(x.dir)
	}
}

// round runs each of them once. One that fails is told of and not run again, and
// what it did before does not count.
func (x *engines) round(ctx context.Context) error {
	for _, name := range slices.Clone(x.there) {
		x.env.Log("blocks: %s", name)
		got, err := x.env.RunPeer(ctx, name, x.args...)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			x.section.Fail(name, err, x.by[name]...)
			x.figures = slices.DeleteFunc(x.figures, func(f *harness.Figure) bool { return slices.Contains(x.by[name], f) })
			x.there = slices.DeleteFunc(x.there, func(n string) bool { return n == name })
			continue
		}
		for _, l := range got {
			x.take(name, l)
		}
	}
	return nil
}

// take adds what one line of a program says.
func (x *engines) take(program string, l harness.PeerLine) {
	x.section.Version(l.Version)
	if l.Error != "" {
		if why := strings.TrimPrefix(l.Name, "op=put/") + ": " + l.Error; !x.told[why] {
			x.told[why] = true
			x.section.Miss(l.Version, why)
		}
		return
	}
	for _, f := range x.figures {
		if f.Name == l.Name {
			f.Add(l.Value)
			return
		}
	}
	f := x.section.Figure(l.Name, l.Unit)
	f.Role, f.Note = harness.Peer, l.Note
	f.Add(l.Value)
	x.figures = append(x.figures, f)
	x.by[program] = append(x.by[program], f)
}
