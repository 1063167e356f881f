package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/kvferry/kvferry/bench/harness"
)

// fioVariant is one way to move bytes at the disk's best: which one is fastest
// differs from disk to disk, so several are tried and the best counts.
type fioVariant struct {
	engine string
	block  int
	depth  int
}

// String is the variant as part of a figure's name.
func (v fioVariant) String() string {
	return fmt.Sprintf("by=fio-%s/block=%s/depth=%d", v.engine, sizeKey(v.block), v.depth)
}

// fioVariants are those for blobs of the given sizes: blocks as long as the
// blobs, and longer ones with and without a queue.
func fioVariants(blobs []int) []fioVariant {
	out := []fioVariant{
		{"psync", miB, 1}, {"psync", 4 * miB, 1}, {"libaio", miB, 8},
	}
	for _, size := range blobs {
		if v := (fioVariant{"psync", size, 1}); size%4096 == 0 && size != miB {
			out = append(out, v)
		}
	}
	return out
}

// fioResult is the part of fio's report that is used here.
type fioResult struct {
	Jobs []struct {
		Error       int `json:"error"`
		Read, Write struct {
			Bytes int64 `json:"io_bytes"`
			Rate  int64 `json:"bw_bytes"`
		}
	} `json:"jobs"`
}

// fioRate runs fio once in dir and returns its bytes per second. A write makes
// its files anew and ends with an fsync; a read wants files that are long enough.
func (b *bench) fioRate(ctx context.Context, dir, rw string, v fioVariant, bytes int64) (float64, error) {
	each := max(bytes/workers/int64(v.block), 1) * int64(v.block)
	args := []string{
		"--name=bench", "--directory=" + dir, "--filename_format=fio.$jobnum", "--rw=" + rw,
		"--ioengine=" + v.engine, "--bs=" + strconv.Itoa(v.block), "--iodepth=" + strconv.Itoa(v.depth),
		"--size=" + strconv.FormatInt(each, 10), "--numjobs=" + strconv.Itoa(workers),
		"--direct=1", "--group_reporting", "--output-format=json",
	}
	if rw == "write" {
		args = append(args, "--end_fsync=1")
	} else {
		args = append(args, "--readonly")
	}
	cmd := exec.CommandContext(ctx, b.fio, args...)
	cmd.Dir, cmd.Stderr = dir, b.told()
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("fio: %w", err)
	}
	var r fioResult
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, fmt.Errorf("fio's report: %w", err)
	}
	if len(r.Jobs) != 1 || r.Jobs[0].Error != 0 {
		return 0, fmt.Errorf("fio reported %d groups", len(r.Jobs))
	}
	side := r.Jobs[0].Write
	if rw == "read" {
		side = r.Jobs[0].Read
	}
	if side.Bytes != each*workers {
		return 0, fmt.Errorf("fio moved %d bytes of %d", side.Bytes, each*workers)
	}
	return float64(side.Rate), nil
}

// fioRates are the variants' rates over the rounds.
type fioRates struct {
	variants []fioVariant
	figures  []*harness.Figure
}

func newFioRates(s *harness.Section, b *bench, op string, variants []fioVariant) *fioRates {
	r := &fioRates{}
	if b.fio == "" {
		s.Miss("fio", "not installed, or the file system has no O_DIRECT: nothing to hold the rates against")
		return r
	}
	r.variants = variants
	for _, v := range variants {
		r.figures = append(r.figures, limit(s, "op="+op+"/"+v.String(), harness.BytesPerSecond))
	}
	return r
}

// write writes new files with each variant.
func (r *fioRates) write(ctx context.Context, b *bench) error {
	for i, v := range r.variants {
		dir, err := b.folder("fio")
		if err != nil {
			return err
		}
		x, err := b.fioRate(ctx, dir, "write", v, b.fioBytes)
		if err != nil {
			return err
		}
		r.figures[i].Add(x)
		if err := b.drop(dir); err != nil {
			return err
		}
	}
	return nil
}

// lay makes the files that read reads, in a folder that the caller drops. They
// are a block longer than what is read, whose length the variants round.
func (r *fioRates) lay(ctx context.Context, b *bench) (dir string, err error) {
	if dir, err = b.folder("fio"); err != nil || len(r.variants) == 0 {
		return dir, err
	}
	v := fioVariant{"psync", 4 * miB, 1}
	_, err = b.fioRate(ctx, dir, "write", v, b.fioBytes+workers*int64(v.block))
	return dir, err
}

// read reads them with each variant.
func (r *fioRates) read(ctx context.Context, b *bench, dir string) error {
	for i, v := range r.variants {
		x, err := b.fioRate(ctx, dir, "read", v, b.fioBytes)
		if err != nil {
			return err
		}
		r.figures[i].Add(x)
	}
	return nil
}

// best is the fastest variant's figure, or nil where there is no fio.
func (r *fioRates) best() *harness.Figure { return harness.Fastest(r.figures) }

// exists reports whether path is there.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
