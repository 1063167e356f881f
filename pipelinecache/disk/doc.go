// Package disk keeps artifacts in a directory, a file each.
package disk
