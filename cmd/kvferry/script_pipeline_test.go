package main

import (
	"context"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// kernelCommand keeps an artifact in a directory under the fingerprint of a
// kernel whose PTX it is, and sets a variable to that.
func kernelCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "kernel DIR ARTIFACT VAR")
	s, err := disk.Open(ts.MkAbs(args[0]), disk.Options{})
	ts.Check(err)
	f := pipelinecache.Kernel{PTX: []byte(args[1]), Major: 9}.Fingerprint()
	ts.Check(s.Put(context.Background(), f, []byte(args[1])))
	ts.Check(s.Close())
	ts.Setenv(args[2], f.String())
}
