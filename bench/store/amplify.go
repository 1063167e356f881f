package store

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/kvferry/kvferry/bench/harness"
)

// measureAmplify counts what the kernel writes for each plain byte.
func measureAmplify(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("A new store, %s put and committed, the store closed: logs, indexes, headers and padding are in it. "+
		"The kernel counts for the process (/proc/self/io) and for the device; the second includes the file system's own "+
		"journal and whatever else runs, and is taken after a sync of the file system.", harness.SizeText(int(b.amplifyBytes)))
	for _, size := range []int{4 * kiB, 80 * kiB, 176 * kiB, miB} {
		own := s.Figure("op=amplify-process/"+b.by(size), harness.Times)
		device := s.Figure("op=amplify-device/"+b.by(size), harness.Times)
		space := s.Figure("op=amplify-space/"+b.by(size), harness.Times)
		own.Goal = harness.Goal{AtMost: 1.02}
		for round := range min(b.rounds, 3) {
			if err := b.amplifyOnce(ctx, b.pages(size, b.amplifyBytes, uint64(round+1)), own, device, space); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) amplifyOnce(ctx context.Context, p *pages, own, device, space *harness.Figure) error {
	if err := b.settle(); err != nil {
		return err
	}
	before, err := count(b.root)
	if err != nil {
		return err
	}
	f, _, used, err := b.fill(ctx, p)
	if err != nil {
		return err
	}
	if err := b.settle(); err != nil {
		return err
	}
	after, err := count(b.root)
	if err != nil {
		return err
	}
	taken, err := treeBytes(f.dir)
	if err != nil {
		return err
	}
	// Of a file system in memory the kernel counts nothing, which is no
	// amplification that could reach a goal.
	if used.writeBytes > 0 {
		own.Add(float64(used.writeBytes) / float64(f.bytes))
	}
	if n := after.since(before).deviceBytes; n > 0 {
		device.Add(float64(n) / float64(f.bytes))
	}
	space.Add(float64(taken) / float64(f.bytes))
	return b.drop(f.dir)
}

// treeBytes adds up the lengths of the files below root.
func treeBytes(root string) (int64, error) {
	var total int64
	err := filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	return total, err
}
