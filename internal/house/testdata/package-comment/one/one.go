// Package one has one comment.
package one
