package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// restored is the JSON document of a restore.
type restored struct {
	Digest    string  `json:"digest"`
	Format    string  `json:"format"`
	Pages     int     `json:"pages"`
	Sequences int     `json:"sequences"`
	Bytes     int64   `json:"bytes"`
	PauseMS   float64 `json:"pause_ms"`
	Seconds   float64 `json:"seconds"`
	Verified  bool    `json:"verified"`
	// Omitted are sequences that --lenient left out.
	Omitted []omission `json:"omitted,omitempty"`
}

func (a *app) restoreCommand() *cobra.Command {
	var (
		spec    string
		lenient bool
		move    transferFlags
	)
	c := &cobra.Command{
		Use:   "restore REF [--pager SPEC] [--store URL]",
		Short: "Drill: restore a snapshot into a fresh engine and compare every page",
		Long: `Restore puts a snapshot into a fresh synthetic engine, then reads every page
back out of the engine, hashes it, and compares it with the snapshot's page
table, and the engine's sequences with the snapshot's.

Without --pager the engine has the snapshot's geometry. With it, it has the
geometry of SPEC, and a snapshot of another geometry is refused; what SPEC says
about the content is not looked at, since the engine is empty.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var want *pager.Meta
			if spec != "" {
				cfg, err := parsePager(spec)
				if err != nil {
					return err
				}
				want = &cfg.Meta
			}
			t, err := move.parse()
			if err != nil {
				return err
			}
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				e, err := resolve(ctx, s, args[0])
				if err != nil {
					return err
				}
				p := a.progress("restore")
				defer p.done()
				t.Progress = p.update
				out, rep, err := drill(ctx, s, e.Root, want, capture.RestoreOptions{Lenient: lenient, Transfer: t})
				p.done()
				if err != nil {
					return err
				}
				out.Omitted = a.omitted(rep.Omitted)
				return a.print(out, func(w io.Writer) error {
					return facts(w,
						"digest", out.Digest,
						"format", out.Format,
						"content", fmt.Sprintf("%s, %s, %s", count(out.Pages, "page"), count(out.Sequences, "sequence"), size(out.Bytes)),
						"pause", span(rep.Pause.Total),
						"time", span(rep.Elapsed)+", "+rate(out.Bytes, rep.Elapsed),
						"verified", "every page read back and equal",
					)
				})
			})
		},
	}
	c.Flags().StringVar(&spec, "pager", "", "geometry of the engine (`SPEC` as in capture)")
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	move.add(c)
	return c
}

// drill restores a snapshot into a fresh engine and proves that it is there.
func drill(ctx context.Context, s cas.Store, root digest.Digest, want *pager.Meta, o capture.RestoreOptions) (out restored, rep capture.RestoreReport, err error) {
	snap, _, err := capture.Load(ctx, s, root, capture.LoadOptions{Lenient: o.Lenient})
	if err != nil {
		return restored{}, rep, err
	}
	if want != nil && len(snap.Groups) != 1 {
		return restored{}, rep, usage(fmt.Errorf("--pager describes one KV group, the snapshot has %d", len(snap.Groups)))
	}
	engines, err := freshEngines(snap, want)
	if err != nil {
		return restored{}, rep, err
	}
	defer func() {
		for _, e := range engines {
			err = errors.Join(err, e.Close())
		}
	}()
	groups := make([]capture.Group, len(engines))
	for i, e := range engines {
		groups[i] = capture.Group{Name: snap.Groups[i].Name, Pager: e.With(synthetic.Releaser)}
	}
	rep, err = capture.RestoreGroups(ctx, s, root, groups, o)
	if err != nil {
		return restored{}, rep, err
	}
	for i := range snap.Groups {
		if err := compareGroup(ctx, &snap.Groups[i], engines[i], rep.Mappings[i].Restored); err != nil {
			return restored{}, rep, err
		}
	}
	return restored{
		Digest: rep.Root.String(), Format: string(rep.Format), Pages: rep.Pages, Sequences: rep.Sequences,
		Bytes: rep.Bytes, PauseMS: milliseconds(rep.Pause.Total), Seconds: rep.Elapsed.Seconds(), Verified: true,
	}, rep, nil
}
