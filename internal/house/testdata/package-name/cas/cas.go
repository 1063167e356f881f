// Package cas is named after what it holds.
package cas
