// Package two has a comment again.
package two
