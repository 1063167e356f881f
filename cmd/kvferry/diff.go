package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// difference is the JSON document of diff.
type difference struct {
	A          string         `json:"a"`
	B          string         `json:"b"`
	Same       bool           `json:"same"` // nothing differs
	SamePages  int            `json:"same_pages"`
	OnlyA      int            `json:"only_a"` // pages
	OnlyB      int            `json:"only_b"`
	SameBytes  int64          `json:"same_bytes"`
	OnlyABytes int64          `json:"only_a_bytes"`
	OnlyBBytes int64          `json:"only_b_bytes"`
	Sequences  []sequenceDiff `json:"sequences"`
}

type sequenceDiff struct {
	ID           string `json:"id"`
	Group        string `json:"group,omitempty"`
	State        string `json:"state"` // same, changed, only-a, only-b
	TokensA      uint64 `json:"tokens_a"`
	TokensB      uint64 `json:"tokens_b"`
	CommonTokens uint64 `json:"common_tokens"` // from the start, by whole pages and equal ends
}

func (a *app) diffCommand() *cobra.Command {
	var lenient bool
	c := &cobra.Command{
		Use:   "diff A B [--store URL]",
		Short: "Compare two snapshots page by page, without reading pages",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				ea, err := resolve(ctx, s, args[0])
				if err != nil {
					return err
				}
				eb, err := resolve(ctx, s, args[1])
				if err != nil {
					return err
				}
				r, err := capture.Diff(ctx, s, ea.Root, eb.Root, capture.LoadOptions{Lenient: lenient})
				if err != nil {
					return err
				}
				d := differenceOf(r)
				return a.print(d, d.write)
			})
		},
	}
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	return c
}

func differenceOf(r capture.DiffReport) difference {
	d := difference{
		A: r.A.String(), B: r.B.String(), SamePages: r.SamePages, OnlyA: r.OnlyA, OnlyB: r.OnlyB,
		SameBytes: r.SameBytes, OnlyABytes: r.OnlyABytes, OnlyBBytes: r.OnlyBBytes, Sequences: []sequenceDiff{},
	}
	d.Same = d.OnlyA == 0 && d.OnlyB == 0
	for _, s := range r.Sequences {
		d.Sequences = append(d.Sequences, sequenceDiff{s.ID, s.Group, string(s.State), s.TokensA, s.TokensB, s.CommonTokens})
		d.Same = d.Same && s.State == capture.Same
	}
	return d
}

func (d difference) write(w io.Writer) error {
	err := columns(w, [][]string{
		{"", "PAGES", "SIZE", "DIGEST"},
		{"both", fmt.Sprint(d.SamePages), size(d.SameBytes), ""},
		{"only a", fmt.Sprint(d.OnlyA), size(d.OnlyABytes), d.A},
		{"only b", fmt.Sprint(d.OnlyB), size(d.OnlyBBytes), d.B},
	})
	if err != nil || len(d.Sequences) == 0 {
		return err
	}
	rows := [][]string{{"SEQUENCE", "STATE", "TOKENS A", "TOKENS B", "COMMON"}}
	for _, s := range d.Sequences {
		rows = append(rows, []string{
			inGroup(s.Group, fmt.Sprintf("%q", s.ID)), s.State,
			fmt.Sprint(s.TokensA), fmt.Sprint(s.TokensB), fmt.Sprint(s.CommonTokens),
		})
	}
	return spaced(w, rows)
}
