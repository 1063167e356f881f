package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// examineStore measures the file system where the store is or would be.
func examineStore(o Options) *Store {
	s := &Store{URL: o.StoreURL, Path: o.StorePath}
	if s.Path == "" {
		return s
	}
	dir, err := filepath.Abs(s.Path)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	for {
		s.Free, s.Total, err = space(dir)
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			break
		}
		dir = up // a store that will be created lies where its parent lies
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}
