// Package remote fetches artifacts over HTTP, and serves a directory of them.
package remote
