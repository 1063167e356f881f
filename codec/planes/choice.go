package planes

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// known are the names of all implementations, of every architecture.
var known = []string{"avx512", "avx2", "neon", "portable"}

// Kernels returns the names of the implementations that this processor can run,
// the fastest first: of avx512, avx2, neon and portable. All give the same
// bytes.
func Kernels() []string {
	names := make([]string, len(implementations))
	for i, k := range implementations {
		names[i] = k.name
	}
	return names
}

// Active returns the name of the implementation that encoders and decoders use
// unless they are told otherwise.
func Active() string { return implementations[0].name }

// Use makes e use the implementation called name from now on. A name that there
// is not is ErrInvalid, one that this processor cannot run ErrUnsupported; then
// nothing changes.
func (e *Encoder) Use(name string) error { return choose(&e.k, name) }

// Use does for d what it does for an Encoder.
func (d *Decoder) Use(name string) error { return choose(&d.k, name) }

func choose(k **kernels, name string) error {
	i := slices.IndexFunc(implementations, func(k *kernels) bool { return k.name == name })
	switch {
	case i >= 0:
		*k = implementations[i]
		return nil
	case slices.Contains(known, name):
		return fmt.Errorf("planes: this processor does not run kernels %q, but %q: %w", name, Kernels(), kvferry.ErrUnsupported)
	}
	return fmt.Errorf("planes: kernels %q are none of %q: %w", name, known, kvferry.ErrInvalid)
}
