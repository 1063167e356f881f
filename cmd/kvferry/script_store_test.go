package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kvferry/kvferry/digest"
)

// TestScriptsOfBothKinds runs scripts that hold for every store in a directory,
// once with KIND dir and once with KIND pack.
func TestScriptsOfBothKinds(t *testing.T) {
	t.Parallel()
	scriptsOfKinds(t, "both", "KIND", schemeDir, schemePack)
}

// spoilCommand damages what a store keeps of a blob, wherever it lies: in a file
// of its own, or in packs behind its digest.
func spoilCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "spoil DIR DIGEST")
	d, err := digest.Parse(args[1])
	ts.Check(err)
	spoilt := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		inBlobs := strings.Contains(path, "blobs") && strings.Contains(e.Name(), d.Hex())
		if !inBlobs && filepath.Ext(path) != ".pack" {
			return nil
		}
		b, err := os.ReadFile(path) //nolint:gosec // a file of the test
		if err != nil {
			return err
		}
		if inBlobs {
			b[len(b)-1] ^= 1
			spoilt++
		} else {
			spoilt += spoilRecords(b, d)
		}
		return os.WriteFile(path, b, 0o666)
	}))
	if spoilt == 0 {
		ts.Fatalf("%s is not below %s", args[1], args[0])
	}
}

// spoilRecords changes the first byte behind the headers of each record of d in
// a pack, and returns how many there are. A page table may hold the digest's
// sum too, but not where a record's header has it.
func spoilRecords(pack []byte, d digest.Digest) (n int) {
	const align, before, behind = 64, 8, 40
	sum := d.Sum()
	for at := 0; ; {
		i := bytes.Index(pack[at:], sum[:])
		if i < 0 {
			return n
		}
		at += i
		record := at - before
		if record >= 0 && record%align == 0 && pack[record+5] == byte(d.Algorithm()) {
			pack[at+len(sum)+behind] ^= 1
			n++
		}
		at += len(sum)
	}
}
