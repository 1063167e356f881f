// Package two has a comment.
package two
