package vfs

import (
	"errors"
	"os"
	"path/filepath"
)

// OSMake makes the directory root and those above it that are missing, durably.
func OSMake(root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	var missing []string // from root upwards
	for at := root; ; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return err
		}
		missing = append(missing, at)
	}
	if err := os.MkdirAll(root, 0o777); err != nil {
		return err
	}
	for _, at := range missing {
		if err := syncAt(filepath.Dir(at)); err != nil {
			return err
		}
	}
	return nil
}

func syncAt(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
