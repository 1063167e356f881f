package store

import (
	"bytes"
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
	jobs   int
}

// String is the variant as part of a figure's name.
func (v fioVariant) String() string {
	return fmt.Sprintf("by=fio-%s/block=%s/depth=%d/jobs=%d", v.engine, sizeKey(v.block), v.depth, v.jobs)
}

// fioVariants are those for blobs of the given sizes: blocks as long as the
// blobs by as many jobs as there are goroutines that put them, the same with a
// queue, and the loop's own blocks and jobs. Two jobs with a block each leave a
// disk idle between them, four with long ones do not.
func fioVariants(blobs []int) []fioVariant {
	out := []fioVariant{
		{"psync", miB, 1, workers}, {"libaio", miB, 8, workers}, {"psync", loopBlock, 1, loopJobs},
	}
	for _, size := range blobs {
		if v := (fioVariant{"psync", size, 1, workers}); size%4096 == 0 && size != miB {
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
func (b *bench) fioRate(ctx context.Context, dir, rw string, v fioVariant, total int64) (float64, error) {
	each := max(total/int64(v.jobs)/int64(v.block), 1) * int64(v.block)
	args := []string{
		"--name=bench", "--directory=" + dir, "--filename_format=fio.$jobnum", "--rw=" + rw,
		"--ioengine=" + v.engine, "--bs=" + strconv.Itoa(v.block), "--iodepth=" + strconv.Itoa(v.depth),
		"--size=" + strconv.FormatInt(each, 10), "--numjobs=" + strconv.Itoa(v.jobs),
		"--direct=1", "--group_reporting", "--output-format=json",
	}
	if rw == "write" {
		args = append(args, "--end_fsync=1")
	} else {
		args = append(args, "--readonly")
	}
	cmd := exec.CommandContext(ctx, b.fio, args...)
	var told bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &told
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("fio: %w: %s", err, harness.LastLines(told.Bytes()))
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
	if side.Bytes != each*int64(v.jobs) {
		return 0, fmt.Errorf("fio moved %d bytes of %d", side.Bytes, each*int64(v.jobs))
	}
	return float64(side.Rate), nil
}

// exists reports whether path is there.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
