package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kvferry/kvferry/cas"
)

func (v inspection) write(w io.Writer, e cas.Entry) error {
	pairs := []string{"digest", v.Digest, "names", orDash(strings.Join(v.Names, " ")), "format", v.Format, "created", when(e.Created)}
	if v.Image != "" {
		pairs = append(pairs, "image", v.Image)
	}
	for _, g := range v.Groups {
		pairs = append(pairs, "group", fmt.Sprintf("%s: %s of %s: %d tokens x %d layers x %d heads x %d %s",
			orDash(g.Name), count(g.Pages, "page"), size(int64(g.PageBytes)), g.PageTokens, g.Layers, g.KVHeads, g.HeadDim, g.Dtype))
	}
	pairs = append(pairs, "size", size(v.Bytes))
	if v.Stored != nil {
		pairs = append(pairs, "stored", describeStored(*v.Stored, v.Bytes))
	}
	if err := facts(w, pairs...); err != nil {
		return err
	}
	if len(v.Sequences) > 0 {
		rows := [][]string{{"SEQUENCE", "TOKENS", "PAGES", "FILL"}}
		for _, s := range v.Sequences {
			rows = append(rows, []string{inGroup(s.Group, fmt.Sprintf("%q", s.ID)), fmt.Sprint(s.Tokens), numbers(s.Pages), fmt.Sprint(s.Fill)})
		}
		if err := spaced(w, rows); err != nil {
			return err
		}
	}
	if len(v.Pages) == 0 {
		return nil
	}
	rows := [][]string{{"PAGE", "PART", "DIGEST"}}
	for _, p := range v.Pages {
		for _, part := range p.Parts {
			rows = append(rows, []string{inGroup(p.Group, fmt.Sprint(p.Index)), part.Kind, part.Digest})
		}
	}
	return spaced(w, rows)
}

// spaced writes a table below an empty line.
func spaced(w io.Writer, rows [][]string) error {
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return columns(w, rows)
}

// inGroup puts the group's name, where groups have names, in front.
func inGroup(group, what string) string {
	if group == "" {
		return what
	}
	return group + "/" + what
}
