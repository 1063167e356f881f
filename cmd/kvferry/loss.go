package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kvferry/kvferry/capture"
)

// loss is the JSON form of one lost blob and what it means for a snapshot.
type loss struct {
	Digest    string   `json:"digest,omitempty"`
	Error     string   `json:"error"`
	Group     string   `json:"group,omitempty"`
	Pages     []uint32 `json:"pages,omitempty"` // numbers within the snapshot
	Sequences []string `json:"sequences,omitempty"`
}

func lossesOf(ls []capture.Loss) []loss {
	out := []loss{}
	for _, l := range ls {
		x := loss{Group: l.Group, Pages: l.Pages, Sequences: l.Sequences}
		if l.Digest.Valid() {
			x.Digest = l.Digest.String()
		}
		if l.Err != nil {
			x.Error = l.Err.Error()
		}
		out = append(out, x)
	}
	return out
}

// shownLosses bounds what is listed for people; JSON has all of them.
const shownLosses = 20

func writeLosses(w io.Writer, ls []loss) error {
	for i, l := range ls {
		if i == shownLosses {
			_, err := fmt.Fprintf(w, "  … and %d more\n", len(ls)-i)
			return err
		}
		if _, err := fmt.Fprintf(w, "  lost: %s\n", l.Error); err != nil {
			return err
		}
		if len(l.Pages) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "        page %s of %s\n", numbers(l.Pages), orDash(strings.Join(l.Sequences, ", "))); err != nil {
			return err
		}
	}
	return nil
}

// numbers lists some numbers, cut where it gets long.
func numbers(ns []uint32) string {
	const shown = 8
	var s []string
	for i, n := range ns {
		if i == shown {
			s = append(s, fmt.Sprintf("… (%d in all)", len(ns)))
			break
		}
		s = append(s, fmt.Sprint(n))
	}
	return strings.Join(s, ", ")
}
