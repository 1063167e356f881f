package main

import (
	"bytes"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kvferry/kvferry/digest"
)

// newerCommand makes a record of a directory store one that a later version
// wrote, its sum included.
func newerCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "newer FILE")
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	i := bytes.LastIndex(b, []byte("\nsum ")) + 1
	text := strings.Replace(string(b[:i]), "snapshot 1\n", "snapshot 2\n", 1)
	if i == 0 || text == string(b[:i]) {
		ts.Fatalf("%s is no record of version 1", args[0])
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	ts.Check(err)
	text += "sum " + h.Sum([]byte(text)).Hex() + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
}
