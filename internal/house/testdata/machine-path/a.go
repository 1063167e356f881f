// Package bad knows where it was built.
package bad

const dir = "/root/go"
