// Package user starts none, but its suite does.
package user
