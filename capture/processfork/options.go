package processfork

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Layout is the layout tag of every page manifest.
const Layout = "paged-batchinvariant-v1"

// MediaType is the media type of every image manifest.
const MediaType = "application/vnd.processfork.image.v1+json"

// Options says how manifests are read.
type Options struct {
	// Lenient accepts what the original accepts although it contradicts
	// itself: repeated pages and sequences, sequences on pages that were not
	// captured, a fill of a whole page or more, and image manifests of another
	// schema or with more than two parents. It also accepts the manifests of
	// the Python adapters, which have no logical_seqs.
	Lenient bool
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("processfork: "+format+": %w", append(args, kvferry.ErrInvalid)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("processfork: "+format+": %w", append(args, kvferry.ErrCorrupt)...)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("processfork: "+format+": %w", append(args, kvferry.ErrUnsupported)...)
}
