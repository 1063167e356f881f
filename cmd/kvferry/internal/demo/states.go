package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kvferry/kvferry"
)

const statesFile = "states.json"

// saveStates writes the states so that they are there entirely or not at all.
func saveStates(dir string, s saved) (err error) {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("demo: save states: %w", err)
	}
	f, err := os.CreateTemp(dir, statesFile+".*")
	if err != nil {
		return fmt.Errorf("demo: save states: %w", err)
	}
	_, err = f.Write(b)
	err = closing(err, f.Sync())
	err = closing(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, statesFile))
	}
	if err != nil {
		return fmt.Errorf("demo: save states: %w", closing(err, os.Remove(f.Name())))
	}
	return nil
}

func loadStates(dir string) (saved, error) {
	var s saved
	b, err := os.ReadFile(filepath.Join(dir, statesFile))
	if err != nil {
		return s, fmt.Errorf("demo: load states: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("demo: load states: %w: %w", kvferry.ErrCorrupt, err)
	}
	return s, nil
}
