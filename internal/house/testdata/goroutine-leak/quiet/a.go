// Package quiet starts none.
package quiet
