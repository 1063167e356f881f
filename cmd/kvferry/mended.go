package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kvferry/kvferry/capture"
)

// mended is the JSON form of what a repair did to one blob.
type mended struct {
	Digest  string `json:"digest"`
	Outcome string `json:"outcome"` // healed, quarantined or lost
	Error   string `json:"error"`   // what was wrong, and if it is lost why it stays so
}

func mendedOf(ms []capture.Mended) []mended {
	out := []mended{}
	for _, m := range ms {
		x := mended{Digest: m.Digest.String(), Outcome: string(m.Outcome)}
		if m.Err != nil {
			x.Error = m.Err.Error()
		}
		out = append(out, x)
	}
	return out
}

func writeMended(w io.Writer, ms []mended) error {
	for i, m := range ms {
		if i == shownLosses {
			_, err := fmt.Fprintf(w, "… and %d more\n", len(ms)-i)
			return err
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s\n", m.Outcome, m.Digest, m.Error); err != nil {
			return err
		}
	}
	return nil
}

// summary counts what a repair did.
func summary(ms []mended) string {
	n := map[string]int{}
	for _, m := range ms {
		n[m.Outcome]++
	}
	var parts []string
	for _, o := range []capture.Outcome{capture.Healed, capture.Quarantined, capture.Lost} {
		parts = append(parts, fmt.Sprintf("%s %s", count(n[string(o)], "blob"), o))
	}
	return "repair: " + strings.Join(parts, ", ")
}

// writeRebuilt says what was found again that the log and index had lost.
func (c checkup) writeRebuilt(w io.Writer) error {
	if c.Found > 0 {
		if _, err := fmt.Fprintf(w, "found again: %s that the log and index had lost\n", count(c.Found, "blob")); err != nil {
			return err
		}
	}
	for _, root := range c.Relisted {
		if _, err := fmt.Fprintf(w, "listed again: %s, lost or removed before; its names are gone\n", root); err != nil {
			return err
		}
	}
	return nil
}
