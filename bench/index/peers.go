package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// peerPrefix begins the names of the programs of a folder that are peers.
const peerPrefix = "index-"

// peers returns the programs of a folder.
func peers(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bench index: peers: %w: %w", kvferry.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bench index: peers: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), peerPrefix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("bench index: peers: %w", err)
		}
		if info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 { // NAME.missing says why a peer is not there
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// peers runs programs once and returns those that did what they were asked. One
// that fails is told of, and what it reported in earlier rounds is taken out.
func (r *run) peers(ctx context.Context, programs []string, round int, res *Result) ([]string, error) {
	var left []string
	for _, p := range programs {
		reps, err := r.peer(ctx, p)
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("bench index: %s: %w", p, cause)
		}
		name := strings.TrimPrefix(filepath.Base(p), peerPrefix)
		if err != nil {
			res.Missing = append(res.Missing, Missing{Name: name, Why: "failed: " + err.Error()})
			res.Reports = slices.DeleteFunc(res.Reports, func(rep Report) bool { return rep.program == p })
			continue
		}
		for i := range reps {
			reps[i].Round, reps[i].program = round, p
		}
		res.Reports = append(res.Reports, reps...)
		left = append(left, p)
	}
	return left, nil
}

// peer runs a program, which gets the harness's flags, a new folder and the sizes
// of the populations, and writes a list of reports. "all" is asked for, so that
// the program does everything that it can.
func (r *run) peer(ctx context.Context, program string) (reps []Report, err error) {
	r.progress("%s", filepath.Base(program))
	dir := r.folder()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h := r.Harness
	args := []string{
		"--dir", dir, "--requests", strconv.Itoa(h.Requests), "--shared-prefix-blocks", strconv.Itoa(h.SharedBlocks),
		"--unique-blocks", strconv.Itoa(h.UniqueBlocks), "--block-tokens", strconv.Itoa(int(h.BlockTokens)),
		"--block-bytes", strconv.FormatUint(h.BlockBytes, 10), "--scan-queries", strconv.Itoa(h.ScanQueries),
		"--churn-ops", strconv.Itoa(h.ChurnOps), "--fill-seconds", strconv.Itoa(max(1, int(r.Fill.Seconds()+0.5))),
		"--each-ms", strconv.Itoa(max(1, int(r.Each.Milliseconds()))),
	}
	for _, n := range r.Records {
		if r.PeerMost == 0 || n <= r.PeerMost {
			args = append(args, "--records", strconv.Itoa(n))
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, harness.LastLines(stderr.Bytes()))
	}
	if err := json.Unmarshal(out, &reps); err != nil {
		return nil, fmt.Errorf("its reports: %w", err)
	}
	for i := range reps {
		reps[i].Peer = true
	}
	return reps, nil
}
