package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

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
	Unlisted  bool     `json:"unlisted,omitempty"` // the catalog does not know it
	Problems  []loss   `json:"problems"`
	// Omitted are sequences that --lenient left out.
	Omitted []omission `json:"omitted,omitempty"`
	Seconds float64    `json:"seconds"`

	unsupported bool // not damaged, but this build cannot read it
}

// verdicts is the JSON document of verify --all.
type verdicts struct {
	Snapshots []verdict `json:"snapshots"`
	Damaged   []string  `json:"damaged"` // records that cannot be read
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
	c.Flags().BoolVar(&all, "all", false, "verify every snapshot of the store, those that no catalog lists too")
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	return c
}

// verifyOne judges one snapshot. What makes it unrestorable is a problem of the
// verdict; an error means that it could not be judged. Beside ErrUnsupported
// the verdict says so.
func (a *app) verifyOne(ctx context.Context, s cas.Store, e cas.Entry, lenient bool) (verdict, error) {
	p := a.progress("verify " + label(e))
	defer p.done()
	r, err := capture.Verify(ctx, s, e.Root, capture.VerifyOptions{
		LoadOptions: capture.LoadOptions{Lenient: lenient}, Progress: p.update,
	})
	v := verdict{
		Digest: e.Root.String(), Names: append([]string{}, e.Names...), Format: string(e.Format),
		Pages: r.Pages, Sequences: r.Sequences, Blobs: r.Blobs, Bytes: r.Bytes, Seconds: r.Elapsed.Seconds(),
		Problems: lossesOf(r.Problems), Omitted: a.omitted(r.Omitted),
	}
	if err != nil {
		v.unsupported = errors.Is(err, kvferry.ErrUnsupported)
		// Only damage, or a manifest that is gone, is a judgement.
		if !v.unsupported && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrNotFound) {
			return verdict{}, err
		}
		v.Problems = append(v.Problems, loss{Digest: e.Root.String(), Error: err.Error()})
	}
	v.OK = len(v.Problems) == 0
	if v.unsupported {
		return v, err
	}
	return v, nil
}

func (a *app) verifyAll(ctx context.Context, s cas.Store, lenient bool) error {
	found, err := contentsOf(ctx, s)
	if err != nil {
		return err
	}
	all := verdicts{Snapshots: []verdict{}, Damaged: found.damaged(), OK: found.damage == nil}
	for i, e := range slices.Concat(found.listed, found.unlisted) {
		v, err := a.verifyOne(ctx, s, e, lenient)
		if err != nil && !v.unsupported {
			return err
		}
		v.Unlisted = i >= len(found.listed)
		if !v.OK && !v.Unlisted {
			if there, err := capture.Listed(ctx, s, e.Root); err == nil && !there {
				continue // removed meanwhile
			}
		}
		all.Snapshots = append(all.Snapshots, v)
		all.OK = all.OK && v.OK
	}
	err = a.print(all, func(w io.Writer) error {
		for _, v := range all.Snapshots {
			if err := v.write(w); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(w, "%s verified\n", count(len(all.Snapshots), "snapshot"))
		return err
	})
	return errors.Join(err, found.damage, damaged(all.Snapshots...))
}

// damaged returns ErrCorrupt if a verdict is bad, and ErrUnsupported if there is
// none where one is wanted.
func damaged(vs ...verdict) error {
	bad, unread := 0, 0
	for _, v := range vs {
		switch {
		case v.unsupported:
			unread++
		case !v.OK:
			bad++
		}
	}
	var errs []error
	if bad > 0 {
		errs = append(errs, fmt.Errorf("verify: %s of %d damaged: %w", count(bad, "snapshot"), len(vs), kvferry.ErrCorrupt))
	}
	if unread > 0 {
		errs = append(errs, fmt.Errorf("verify: %s of %d cannot be read by this build: %w", count(unread, "snapshot"), len(vs), kvferry.ErrUnsupported))
	}
	return errors.Join(errs...)
}

func (v verdict) write(w io.Writer) error {
	name := shortDigest(v.Digest)
	if len(v.Names) > 0 {
		name = v.Names[0] + " (" + name + ")"
	}
	if v.Unlisted {
		name += " (unlisted)"
	}
	state := "intact"
	switch {
	case v.unsupported:
		state = "NOT VERIFIED"
	case !v.OK:
		state = "DAMAGED"
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s, %s, %s\n", name, state,
		count(v.Pages, "page"), count(v.Blobs, "blob"), size(v.Bytes)); err != nil {
		return err
	}
	return writeLosses(w, v.Problems)
}
