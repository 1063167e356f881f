package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// The schemes of store URLs.
const (
	schemePack = "pack"
	schemeDir  = "dir"
	schemeMem  = "mem"
)

// kindAt returns the scheme of the store in a directory, as its marker tells, or
// where there is none, or none that can be read, what lies beside it: the
// blobs of ProcessFork have no marker. It is empty where there is no store, or
// one that only the future knows.
func kindAt(path string) string {
	marker := filepath.Join(path, "kvferry.json")
	if fi, err := os.Stat(marker); err == nil && fi.Mode().IsRegular() && fi.Size() <= 4096 {
		var m struct {
			Format string `json:"format"`
		}
		b, err := os.ReadFile(filepath.Clean(marker))
		if err == nil && json.Unmarshal(b, &m) == nil {
			kind, _ := strings.CutPrefix(m.Format, "kvferry-")
			if kind == schemePack || kind == schemeDir {
				return kind
			}
		}
	}
	for _, k := range []struct{ kind, below string }{{schemePack, "packs"}, {schemeDir, "blobs/sha256"}} {
		if fi, err := os.Stat(filepath.Join(path, filepath.FromSlash(k.below))); err == nil && fi.IsDir() {
			return k.kind
		}
	}
	return ""
}
