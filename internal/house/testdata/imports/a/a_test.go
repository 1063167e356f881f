package a_test

import (
	_ "example.org/bad/a"
	_ "example.org/bad/c"
	_ "example.org/bad/d"
	_ "example.org/bad/undrawn"
)
