package pages

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kvferry/kvferry"
)

// description is NAME.json.
type description struct {
	Layers    int      `json:"n_layers"`
	Tokens    int      `json:"page_size_tokens"`
	Heads     int      `json:"n_kv_heads"`
	Dim       int      `json:"head_dim"`
	Dtype     string   `json:"dtype"`
	PageBytes int      `json:"page_bytes"`
	Pages     int      `json:"pages"`
	SHA256    []string `json:"page_sha256"`
}

// Load reads the set whose pages are in the file path, NAME.kv; NAME.json lies
// beside it. A file that is missing is ErrNotFound, a description that is
// impossible or says what this package cannot read ErrInvalid, and pages that
// are not those of the description ErrCorrupt.
func Load(path string) (*Set, error) {
	name := strings.TrimSuffix(path, ".kv")
	d, err := describe(name + ".json")
	if err != nil {
		return nil, err
	}
	raw, err := readFile(name + ".kv")
	if err != nil {
		return nil, err
	}
	s := &Set{Name: filepath.Base(name), Geometry: d.geometry(), Real: true}
	size := s.PageBytes()
	if len(raw) != d.Pages*size {
		return nil, fmt.Errorf("pages: %s.kv has %d bytes, want %d pages of %d: %w", name, len(raw), d.Pages, size, kvferry.ErrCorrupt)
	}
	for i := range d.Pages {
		p := raw[i*size:][:size:size]
		if i < len(d.SHA256) {
			want, err := hex.DecodeString(d.SHA256[i])
			if got := sha256.Sum256(p); err != nil || !bytes.Equal(got[:], want) {
				return nil, fmt.Errorf("pages: %s.kv: page %d is not that of SHA-256 %q: %w", name, i, d.SHA256[i], kvferry.ErrCorrupt)
			}
		}
		s.Pages = append(s.Pages, p)
	}
	return s, nil
}

// Folder loads the sets of a folder, by name; "" means BuiltIn. A folder
// without any is ErrNotFound, other errors are those of Load.
func Folder(dir string) ([]*Set, error) {
	dir = cmp.Or(dir, BuiltIn)
	names, err := filepath.Glob(filepath.Join(escape(dir), "*.kv")) // sorted
	if err != nil {
		return nil, fmt.Errorf("pages: %s: %w: %w", dir, kvferry.ErrInvalid, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("pages: %s holds no NAME.kv: %w", dir, kvferry.ErrNotFound)
	}
	sets := make([]*Set, len(names))
	for i, n := range names {
		if sets[i], err = Load(n); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// escape keeps what stands in a folder's name from being a pattern.
func escape(dir string) string {
	if filepath.Separator == '\\' {
		return dir // where patterns know no escape
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// describe reads NAME.json and holds it to what it says itself.
func describe(path string) (*description, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var d description
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("pages: %s: %w: %w", path, kvferry.ErrInvalid, err)
	}
	if err := d.geometry().Validate(); err != nil {
		return nil, fmt.Errorf("pages: %s: %w", path, err)
	}
	switch size := d.geometry().PageBytes(); {
	case d.Dtype != "bfloat16":
		err = fmt.Errorf("dtype %q, want bfloat16", d.Dtype)
	case d.PageBytes != size:
		err = fmt.Errorf("page_bytes %d, but the geometry has %d", d.PageBytes, size)
	case d.Pages < 1 || d.Pages > 1<<40/size:
		err = fmt.Errorf("%d pages, want from 1 to 1 TiB", d.Pages)
	case len(d.SHA256) != 0 && len(d.SHA256) != d.Pages:
		err = fmt.Errorf("%d values of page_sha256 for %d pages", len(d.SHA256), d.Pages)
	}
	if err != nil {
		return nil, fmt.Errorf("pages: %s: %w: %w", path, err, kvferry.ErrInvalid)
	}
	return &d, nil
}

func (d *description) geometry() Geometry { return Geometry{d.Layers, d.Tokens, d.Heads, d.Dim} }

// readFile reads a file; one that is not there is ErrNotFound.
func readFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pages: %w: %w", kvferry.ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("pages: %w", err)
	}
	return raw, nil
}

// Save writes the set to NAME.kv and NAME.json in dir, so that Load reads it.
func (s *Set) Save(dir string) error {
	d := description{
		Layers: s.Layers, Tokens: s.Tokens, Heads: s.Heads, Dim: s.Dim,
		Dtype: "bfloat16", PageBytes: s.PageBytes(), Pages: len(s.Pages),
	}
	for _, p := range s.Pages {
		sum := sha256.Sum256(p)
		d.SHA256 = append(d.SHA256, hex.EncodeToString(sum[:]))
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	name := filepath.Join(dir, s.Name)
	err = errors.Join(os.WriteFile(name+".json", text, 0o600), os.WriteFile(name+".kv", bytes.Join(s.Pages, nil), 0o600))
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return nil
}
