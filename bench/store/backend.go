package store

import (
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
)

// backend is a store that can be measured.
type backend struct {
	name  string
	open  func(path string) (cas.Store, error)
	files bool // it makes a file of each blob, so it is not asked for millions
}

// backends lists them; the first is the default.
func backends() []backend {
	return []backend{
		{"pack", openPack, false},
		{"dir", openDir, true},
	}
}

func openPack(path string) (cas.Store, error) { return pack.Open(path, pack.Options{}) }

func openDir(path string) (cas.Store, error) { return dir.Open(path, dir.Options{}) }

func backendNamed(name string) (backend, error) {
	for _, x := range backends() {
		if x.name == name {
			return x, nil
		}
	}
	return backend{}, fmt.Errorf("bench store: no store %q, there are %s: %w", name, strings.Join(StoreNames(), ", "), kvferry.ErrInvalid)
}

// StoreNames are the stores that can be measured.
func StoreNames() []string {
	var names []string
	for _, x := range backends() {
		names = append(names, x.name)
	}
	return names
}

// indexed is what a store that keeps its index in memory can tell of it: the
// bytes of the digest index, all memory mapped for it included.
type indexed interface {
	IndexBytes() int64
}

// rawSession are the options of all sessions: bytes stay as they are.
func rawSession() cas.SessionOptions {
	return cas.SessionOptions{Owner: "bench", Hint: codec.Hint{Mode: codec.OnlyRaw}}
}
