// Package memory keeps artifacts in memory: sharded, least recently used out first.
package memory
