// Package pagecache keeps pages of bytes in memory outside the Go heap, within a
// byte limit: the DRAM tier.
package pagecache
