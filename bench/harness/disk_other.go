//go:build !linux

package harness

import (
	"errors"
	"os"
)

// SyncFS syncs the folder alone: there is no more to ask for here.
func SyncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// DropCached drops nothing: what is read may come from memory.
func DropCached(root string) error { return SyncFS(root) }
