// Package c has a test that needs more than is drawn.
package c
