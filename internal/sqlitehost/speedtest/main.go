//go:build speedtest1

// Command speedtest runs SQLite's speedtest1 on the page cache of package
// plugin, or on the built-in one.
//
// It is built with the tag speedtest1 and an include path with speedtest1.c, which
// comes with SQLite's source (`apt-get source sqlite3` on Debian), and sqlite3.h:
// see scripts/bench-sqlite.
//
//	speedtest own|group|builtin ARGUMENTS OF speedtest1
package main

// #cgo linux LDFLAGS: -Wl,--unresolved-symbols=ignore-all
// #cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup
// #include <stdio.h>
// int speedtest1_main(int, char **);
import "C"

import (
	"fmt"
	"os"

	"github.com/kvferry/kvferry/internal/sqlitehost"
	"github.com/kvferry/kvferry/pagecache"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "speedtest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: speedtest own|group|builtin [ARGUMENT...]")
	}
	if args[1] != "builtin" {
		mem, err := pagecache.NewArena(pagecache.ArenaOptions{LimitBytes: 4 << 30})
		if err != nil {
			return err
		}
		if err := sqlitehost.Register(mem, args[1] == "group"); err != nil {
			return err
		}
	}
	argv := make([]*C.char, 0, len(args)) // C keeps pointers to the strings: they are never freed
	for _, a := range append(args[:1:1], args[2:]...) {
		argv = append(argv, C.CString(a))
	}
	rc := C.speedtest1_main(C.int(len(argv)), &append(argv, nil)[0])
	C.fflush(nil) // C's own exit would have done it
	if rc != 0 {
		return fmt.Errorf("speedtest1 gave %d", rc)
	}
	if args[1] == "builtin" {
		return nil
	}
	calls, _, err := sqlitehost.Report()
	fmt.Println("calls:", calls)
	return err
}
