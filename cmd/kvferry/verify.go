package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// verdict is the JSON form of one snapshot's verification.
type verdict struct {
	Digest    string   `json:"digest"`
	Names     []string `json:"names"`
	Format    string   `json:"format"`
	Pages     int      `json:"pages"`
	Sequences int      `json:"sequences"`
	Blobs     int64    `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	OK        bool     `json:"ok"`
	Problems  []loss   `json:"problems"`
	Seconds   float64  `json:"seconds"`
}

// verdicts is the JSON document of verify --all.
type verdicts struct {
	Snapshots []verdict `json:"snapshots"`
	OK        bool      `json:"ok"`
}

func (a *app) verifyCommand() *cobra.Command {
	var all, lenient bool
	c := &cobra.Command{
		Use:   "verify {REF | --all} [--store URL]",
		Short: "Read every byte of a snapshot and check it against its digest",
		Args: func(_ *cobra.Command, args []string) error {
			if all != (len(args) == 0) || len(args) > 1 {
				return errors.New("verify wants either one REF or --all")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				if all {
					return a.verifyAll(ctx, s, lenient)
				}
				e, err := resolve(ctx, s, args[0])
				if err != nil {
					return err
				}
				v, err := a.verifyOne(ctx, s, e, lenient)
				if err != nil {
					return err
				}
				if err := a.print(v, func(w io.Writer) error { return v.write(w) }); err != nil {
					return err
				}
				return damaged(v)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "verify every snapshot of the catalog")
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	return c
}

// verifyOne judges one snapshot. What makes it unrestorable is a problem of the
// verdict; an error means that it could not be judged.
func (a *app) verifyOne(ctx context.Context, s cas.Store, e cas.Entry, lenient bool) (verdict, error) {
	p := a.progress("verify " + label(e))
	defer p.done()
	r, err := capture.Verify(ctx, s, e.Root, capture.VerifyOptions{
		LoadOptions: capture.LoadOptions{Lenient: lenient}, Progress: p.update,
	})
	v := verdict{
		Digest: e.Root.String(), Names: append([]string{}, e.Names...), Format: string(e.Format),
		Pages: r.Pages, Sequences: r.Sequences, Blobs: r.Blobs, Bytes: r.Bytes, Seconds: r.Elapsed.Seconds(),
		Problems: lossesOf(r.Problems),
	}
	if err != nil {
		// Only damage, or a manifest that is gone, is a judgement.
		if !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrNotFound) {
			return verdict{}, err
		}
		v.Problems = append(v.Problems, loss{Digest: e.Root.String(), Error: err.Error()})
	}
	v.OK = len(v.Problems) == 0
	return v, nil
}

func (a *app) verifyAll(ctx context.Context, s cas.Store, lenient bool) error {
	entries, listErr := s.Catalog().Entries(ctx)
	if listErr != nil && !errors.Is(listErr, kvferry.ErrCorrupt) {
		return listErr
	}
	if len(entries) == 0 && listErr == nil {
		a.log.Warn("the catalog lists no snapshot; those of ProcessFork are verified by digest, whole stores by check", "store", a.store)
	}
	all := verdicts{Snapshots: []verdict{}, OK: listErr == nil}
	for _, e := range entries {
		v, err := a.verifyOne(ctx, s, e, lenient)
		if err != nil {
			return err
		}
		all.Snapshots = append(all.Snapshots, v)
		all.OK = all.OK && v.OK
	}
	err := a.print(all, func(w io.Writer) error {
		for _, v := range all.Snapshots {
			if err := v.write(w); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(w, "%s verified\n", count(len(all.Snapshots), "snapshot"))
		return err
	})
	return errors.Join(err, listErr, damaged(all.Snapshots...))
}

// damaged returns ErrCorrupt if a verdict is bad.
func damaged(vs ...verdict) error {
	bad := 0
	for _, v := range vs {
		if !v.OK {
			bad++
		}
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("verify: %s of %d damaged: %w", count(bad, "snapshot"), len(vs), kvferry.ErrCorrupt)
}

func (v verdict) write(w io.Writer) error {
	name := shortDigest(v.Digest)
	if len(v.Names) > 0 {
		name = v.Names[0] + " (" + name + ")"
	}
	state := "intact"
	if !v.OK {
		state = "DAMAGED"
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s, %s, %s\n", name, state,
		count(v.Pages, "page"), count(v.Blobs, "blob"), size(v.Bytes)); err != nil {
		return err
	}
	return writeLosses(w, v.Problems)
}
