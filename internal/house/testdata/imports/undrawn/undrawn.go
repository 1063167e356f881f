// Package undrawn has no line of its own.
package undrawn
