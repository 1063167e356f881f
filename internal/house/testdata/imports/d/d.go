// Package d imports nothing.
package d
