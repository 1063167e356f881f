package pager

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Dtype is the type of a page's elements.
type Dtype uint8

// The element types. The zero value is invalid. The numbers are stored in
// native manifests and must not change. ProcessFork knows the first four.
const (
	BF16    Dtype = 1
	F16     Dtype = 2
	F32     Dtype = 3
	FP8E4M3 Dtype = 4
	FP8E5M2 Dtype = 5
	// Opaque is bytes whose meaning only the engine knows: packed or
	// quantised pages with inline scales.
	Opaque Dtype = 6
)

var dtypes = [...]struct {
	name  string
	bytes int
}{
	BF16: {"bf16", 2}, F16: {"f16", 2}, F32: {"f32", 4},
	FP8E4M3: {"fp8e4m3", 1}, FP8E5M2: {"fp8e5m2", 1}, Opaque: {"opaque", 1},
}

// Valid reports whether d is a known type.
func (d Dtype) Valid() bool { return d > 0 && int(d) < len(dtypes) }

// Bytes returns the size of one element; 0 if d is invalid.
func (d Dtype) Bytes() int {
	if !d.Valid() {
		return 0
	}
	return dtypes[d].bytes
}

// String returns d's name, for example "bf16", or "invalid".
func (d Dtype) String() string {
	if !d.Valid() {
		return "invalid"
	}
	return dtypes[d].name
}

// ParseDtype returns the type with the given name, or ErrInvalid. Names are
// case-sensitive and have no aliases.
func ParseDtype(name string) (Dtype, error) {
	for d := BF16; d.Valid(); d++ {
		if dtypes[d].name == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("pager: dtype %q is not one of bf16, f16, f32, fp8e4m3, fp8e5m2, opaque: %w", name, kvferry.ErrInvalid)
}

// MarshalText implements encoding.TextMarshaler.
func (d Dtype) MarshalText() ([]byte, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("pager: marshal of an invalid dtype: %w", kvferry.ErrInvalid)
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Dtype) UnmarshalText(text []byte) error {
	p, err := ParseDtype(string(text))
	if err != nil {
		return err
	}
	*d = p
	return nil
}
