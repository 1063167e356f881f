package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/digest"
)

// fileBytes is a page file: the K and the V part of a page. peerRounds bounds
// the rounds, of which each moves the set eight times.
const (
	fileBytes  = 2 * 176 * kiB
	peerRounds = 3
)

// peerTool is a program that backs files up into a folder.
type peerTool interface {
	// prepare makes the repository, backup and restore do what they say. Their
	// time is taken by the caller.
	prepare(ctx context.Context) error
	backup(ctx context.Context, source string) error
	restore(ctx context.Context, target string) error
}

// contender is a tool and its figures.
type contender struct {
	name    string
	tool    func(repo string) peerTool
	in, out *harness.Figure
}

// measurePeers moves page files into repositories and back.
func measurePeers(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("%s of page files of %s, without repetitions, go into a new repository and back into a new folder, in turns. "+
		"The files are in the page cache when they are backed up, the repository is not when it is restored from. Of what they "+
		"write, restic syncs each pack file and its folder, kopia 0.21 syncs nothing, and nobody syncs the files that are "+
		"restored; to compare equal durability, every time ends with a sync of the whole file system. All of them check the "+
		"bytes that they restore. restic and kopia encrypt, which cannot be switched off; compression is as the table says.",
		harness.SizeText(int(b.peerBytes)), harness.SizeText(fileBytes))
	source, err := b.pageFiles(ctx)
	if err != nil {
		return err
	}
	ours := &contender{name: b.store.name, tool: b.ourTool}
	all := append([]*contender{ours}, b.contenders(ctx, s)...)
	for _, c := range all {
		c.in = s.Figure("op=backup/by="+c.name, harness.BytesPerSecond)
		c.out = s.Figure("op=restore/by="+c.name, harness.BytesPerSecond)
		if c != ours {
			c.in.Role, c.out.Role = harness.Peer, harness.Peer
		}
	}
	for round := range min(b.rounds, peerRounds) {
		for _, c := range slices.Clone(all) {
			err := b.peerRound(ctx, c, source, round == 0)
			if err != nil && (c == ours || ctx.Err() != nil) {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if err != nil {
				s.Fail(c.name, err, c.in, c.out)
				all = slices.DeleteFunc(all, func(other *contender) bool { return other == c })
			}
		}
	}
	var ins, outs []*harness.Figure
	for _, c := range all[1:] {
		ins, outs = append(ins, c.in), append(outs, c.out)
	}
	ours.in.Versus(harness.Fastest(ins), harness.Goal{AtLeast: 3}).Beside(ins...)
	ours.out.Versus(harness.Fastest(outs), harness.Goal{AtLeast: 3}).Beside(outs...)
	return b.drop(source)
}

// contenders are the peers that are installed.
func (b *bench) contenders(ctx context.Context, s *harness.Section) []*contender {
	var out []*contender
	for _, name := range []string{"restic", "kopia"} {
		if path := b.PeerPath(name); path != "" {
			s.Version(version(ctx, path))
		} else {
			s.Miss(name, b.Why(name))
		}
	}
	if path := b.PeerPath("restic"); path != "" {
		for _, mode := range []string{"off", "auto"} {
			out = append(out, &contender{name: "restic/compression=" + mode, tool: func(repo string) peerTool {
				return &restic{program{path, repo, b.told()}, mode}
			}})
		}
	}
	if path := b.PeerPath("kopia"); path != "" {
		out = append(out, &contender{name: "kopia/compression=off", tool: func(repo string) peerTool {
			return &kopia{program: program{path, repo, b.told()}}
		}})
	}
	return out
}

// pageFiles makes the files to back up.
func (b *bench) pageFiles(ctx context.Context) (string, error) {
	dir, err := b.folder("source")
	if err != nil {
		return "", err
	}
	g := newGenerator()
	bufs := make([][]byte, workers)
	for w := range bufs {
		bufs[w] = make([]byte, fileBytes)
	}
	err = each(ctx, workers, b.peerFiles(), func(_ context.Context, w, i int) error {
		g.fill(bufs[w], mix(uint64(i)+7))
		return writeFile(pageFile(dir, i), bufs[w], false)
	})
	if err != nil {
		return "", err
	}
	return dir, b.settle()
}

func (b *bench) peerFiles() int { return int(b.peerBytes / fileBytes) }

func pageFile(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("page-%06d", i)) }

// peerRound backs up and restores once.
func (b *bench) peerRound(ctx context.Context, c *contender, source string, compare bool) (err error) {
	repo, err := b.folder("repository")
	if err != nil {
		return err
	}
	target, err := b.folder("target")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.drop(repo), b.drop(target)) }()
	t := c.tool(repo)
	if err := t.prepare(ctx); err != nil {
		return err
	}
	n := int64(b.peerFiles()) * fileBytes
	x, err := b.durably(n, func() error { return t.backup(ctx, source) })
	if err != nil {
		return err
	}
	c.in.Add(x)
	if err := harness.DropCached(repo); err != nil {
		return err
	}
	if x, err = b.durably(n, func() error { return t.restore(ctx, target) }); err != nil {
		return err
	}
	c.out.Add(x)
	if compare {
		return b.compareFiles(ctx, source, target)
	}
	return nil
}

// durably returns the bytes per second of do and of the sync after it.
func (b *bench) durably(bytes int64, do func() error) (float64, error) {
	if err := b.settle(); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	if err := b.settle(); err != nil {
		return 0, err
	}
	return harness.Rate(bytes, start), nil
}

// compareFiles holds what came back against the source.
func (b *bench) compareFiles(ctx context.Context, source, target string) error {
	hs, err := hashers(workers)
	if err != nil {
		return err
	}
	return each(ctx, workers, b.peerFiles(), func(_ context.Context, w, i int) error {
		var sums [2]digest.Digest
		for k, dir := range []string{source, target} {
			plain, err := os.ReadFile(pageFile(dir, i))
			if err != nil {
				return err
			}
			sums[k] = hs[w].Sum(plain)
		}
		if sums[0] != sums[1] {
			return fmt.Errorf("%s came back differently", pageFile(target, i))
		}
		return nil
	})
}

// program runs a peer's binary on a repository.
type program struct {
	path, repo string
	told       io.Writer
}

// run runs it in dir with a configuration that lies in the repository's folder
// and nowhere else, and returns what it prints.
func (p *program) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.path, args...)
	var told bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, io.MultiWriter(p.told, &told)
	within := func(name string) string { return filepath.Join(p.repo, name) }
	cmd.Env = append(cmd.Environ(),
		"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY="+within("data"), "RESTIC_CACHE_DIR="+within("cache"),
		"KOPIA_PASSWORD=bench", "KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_CONFIG_PATH="+within("config"),
		"KOPIA_CACHE_DIRECTORY="+within("cache"), "KOPIA_LOG_DIR="+within("logs"))
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(p.path), args[0], err, harness.LastLines(told.Bytes()))
	}
	return out, nil
}

// restic is the program of that name.
type restic struct {
	program
	compression string
}

func (r *restic) prepare(ctx context.Context) error {
	_, err := r.run(ctx, r.repo, "init", "--quiet")
	return err
}

func (r *restic) backup(ctx context.Context, source string) error {
	_, err := r.run(ctx, source, "backup", "--quiet", "--no-scan", "--compression", r.compression, ".")
	return err
}

func (r *restic) restore(ctx context.Context, target string) error {
	_, err := r.run(ctx, r.repo, "restore", "latest", "--quiet", "--target", target)
	return err
}

// kopia is the program of that name.
type kopia struct {
	program
	snapshot string
}

func (k *kopia) prepare(ctx context.Context) error {
	// What it says of its new repository goes to standard error: nobody needs it.
	p := program{k.path, k.repo, io.Discard}
	if _, err := p.run(ctx, k.repo, "repository", "create", "filesystem", "--path", filepath.Join(k.repo, "data")); err != nil {
		return err
	}
	_, err := p.run(ctx, k.repo, "policy", "set", "--global", "--compression", "none")
	return err
}

// backup leaves out the upkeep of the repository that a first snapshot starts.
func (k *kopia) backup(ctx context.Context, source string) error {
	out, err := k.run(ctx, k.repo, "snapshot", "create", "--json", "--no-progress", "--no-auto-maintenance", "--log-level", "error", source)
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.ID == "" {
		return fmt.Errorf("kopia named no snapshot: %w", err)
	}
	k.snapshot = made.ID
	return nil
}

func (k *kopia) restore(ctx context.Context, target string) error {
	_, err := k.run(ctx, k.repo, "snapshot", "restore", "--no-progress", "--log-level", "error", k.snapshot, target)
	return err
}
