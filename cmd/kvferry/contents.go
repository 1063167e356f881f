package main

import (
	"context"
	"errors"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// contents are the snapshots of a store.
type contents struct {
	listed   []cas.Entry // by the catalog, oldest first
	unlisted []cas.Entry // ProcessFork's manifests that the catalog does not know
	// damage tells the records of the catalog that cannot be read; nil if all
	// can. It ends the command, but not before the others were told.
	damage error
}

func contentsOf(ctx context.Context, s cas.Store) (contents, error) {
	var c contents
	var err error
	c.listed, c.damage = s.Catalog().Entries(ctx)
	if c.damage != nil && !errors.Is(c.damage, kvferry.ErrCorrupt) && !errors.Is(c.damage, kvferry.ErrUnsupported) {
		return contents{}, c.damage
	}
	c.unlisted, err = capture.Unlisted(ctx, s)
	return c, err
}

// snapshots returns all of them in their JSON form.
func (c contents) snapshots() []snapshot {
	out := []snapshot{}
	for _, e := range c.listed {
		out = append(out, snapshotOf(e))
	}
	for _, e := range c.unlisted {
		s := snapshotOf(e)
		s.Unlisted = true
		out = append(out, s)
	}
	return out
}

// damaged says what is wrong with each record that cannot be read.
func (c contents) damaged() []string {
	out := []string{}
	if c.damage != nil {
		out = strings.Split(c.damage.Error(), "\n") // errors.Join puts each on a line
	}
	return out
}
