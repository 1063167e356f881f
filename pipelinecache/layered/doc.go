// Package layered puts caches of artifacts over one another, the fastest first.
package layered
