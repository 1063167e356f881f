// Package b imports nothing.
package b
