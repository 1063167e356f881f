// Command report makes one HTML page, with tables and plots, of the samples
// that kvferry bench all --raw FILE wrote. The page needs nothing else: no
// script, no font, no network.
//
// It is a module of its own: the plots' library is nine megabytes in a binary
// and would be in kvferry's go.mod.
//
//	report [-html FILE] [-quote DOCUMENT.md] RUN.json
//
// -quote writes the table of figures of a document anew.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/kvferry/kvferry/bench/harness"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// run reads the samples and writes the page.
func run(args []string, told io.Writer) error {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(told)
	out := f.String("html", "", "file to write")
	doc := f.String("quote", "", "document whose table of figures is written anew")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *out == "" && *doc == "" || f.NArg() != 1 {
		return errors.New("usage: report [-html FILE] [-quote DOCUMENT.md] RUN.json")
	}
	text, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	var r harness.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %w", f.Arg(0), err)
	}
	if *doc != "" {
		if err := quoteFile(*doc, &r); err != nil {
			return err
		}
	}
	if *out == "" {
		return nil
	}
	var page bytes.Buffer
	if err := write(&page, &r); err != nil {
		return err
	}
	return os.WriteFile(*out, page.Bytes(), 0o644)
}
