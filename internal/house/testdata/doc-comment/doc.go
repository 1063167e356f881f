// Package bad exports with and without a word.
package bad

// Good is documented.
type Good struct{ Field int }

// The Better of two, with an article.
type Better interface {
	// Do does it.
	Do()
	Undo()
}

type Naked struct{}

// Goodness is a word that begins with Good.
func Wrong() {}

// Method is documented.
func (g *Good) Method() {}

func (g *Good) Bare() {}

type hidden struct{}

func (h hidden) Exported() {}

// The colours share this comment.
const (
	Red  = 1
	Blue = 2
	// It is green.
	Green = 3
)

const (
	Alone = 4
	Noted = 5 // Noted has a note beside it.
)

var Loose = 1

// Tight is documented.
var Tight = 2

// Generic is documented.
type Generic[K, V any] struct{}

func (g Generic[K, V]) Get() {}

// Single is described as a whole.
type Single interface{ Do() }
