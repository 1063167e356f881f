// Command kvferry captures paged KV caches into stores, restores them, and
// looks after the stores.
//
// Every subcommand prints for people by default and one JSON document on
// standard output with --json. Errors go to standard error, with --json as one
// JSON object {"error", "kind", "code"}. The exit code says how it ended:
//
//	0  done
//	1  failed
//	2  wrong usage: flags, arguments, or text that cannot be parsed
//	3  corrupt data was found
//	4  not found
package main

import (
	"context"
	"os"
)

func main() {
	ctx, stop := interruptible(context.Background())
	code := run(ctx, os.Args[1:], console{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv})
	stop()
	os.Exit(code)
}
