package gpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kvferry/kvferry"
)

// maxPathsBytes bounds a saved table.
const maxPathsBytes = 64 << 10

// LoadPaths reads a table that WriteTo wrote. Anything else, or more than a
// table, is ErrInvalid.
func LoadPaths(r io.Reader) (*Paths, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPathsBytes+1))
	if err != nil {
		return nil, fmt.Errorf("gpu: load paths: %w", err)
	}
	if len(text) > maxPathsBytes {
		return nil, fmt.Errorf("gpu: load paths: more than %d bytes: %w", maxPathsBytes, kvferry.ErrInvalid)
	}
	t := new(Paths)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("gpu: load paths: %w: %w", kvferry.ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("gpu: load paths: something follows the table: %w", kvferry.ErrInvalid)
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t, nil
}

// WriteTo writes the table as LoadPaths reads it.
func (t *Paths) WriteTo(w io.Writer) (int64, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return 0, fmt.Errorf("gpu: write paths: %w", err)
	}
	n, err := w.Write(append(text, '\n'))
	if err != nil {
		return int64(n), fmt.Errorf("gpu: write paths: %w", err)
	}
	return int64(n), nil
}
