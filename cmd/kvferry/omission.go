package main

import "github.com/kvferry/kvferry/capture/processfork"

// omission is the JSON form of a sequence that --lenient left out.
type omission struct {
	Sequence string `json:"sequence"`
	Why      string `json:"why"`
}

// omitted returns what was left out, and warns people of each of it; programs
// read the document.
func (a *app) omitted(all []processfork.Omission) []omission {
	var out []omission
	for _, o := range all {
		if !a.json {
			a.log.Warn("a sequence was left out", "sequence", o.ID, "why", o.Why)
		}
		out = append(out, omission{o.ID, o.Why})
	}
	return out
}
