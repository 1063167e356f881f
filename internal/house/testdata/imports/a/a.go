// Package a may import b and the root, not c.
package a

import (
	_ "example.org/bad"
	_ "example.org/bad/b"
	_ "example.org/bad/c"
)
