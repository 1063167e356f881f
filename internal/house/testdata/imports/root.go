// Package bad is the root.
package bad
