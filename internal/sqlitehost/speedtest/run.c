//go:build speedtest1

// SQLite's own speedtest1, whose source is not part of this tree: the include
// path names where it lies. See main.go.
#define main speedtest1_main
#include <speedtest1.c>
