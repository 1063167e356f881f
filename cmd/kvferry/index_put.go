package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/index"
)

// putting is what index put makes records of.
type putting struct {
	scopeFlags

	prefix, worker, tier    string
	position, group, tokens uint32
	size                    byteSize
	refs                    uint32
	pinned                  bool
	used                    string
	incarnation             uint64
}

// putReport is the JSON document of index put.
type putReport struct {
	Put int    `json:"put"`
	Seq uint64 `json:"seq"`
}

func (x *indexing) putCommand() *cobra.Command {
	var p putting
	c := &cobra.Command{
		Use:   "put HASH… --model M --tokenizer T --tenant X --worker W [--tier TIER]",
		Short: "Say that a worker holds blocks",
		Long: `Put says that a worker holds blocks in a tier. Several hashes are a chain: each is
the parent of the next, at the next position.

A record in a volatile tier (hbm, remote_hbm, cpu_dram) is stale when an index in a
directory is opened again. With --incarnation, the number of the worker's present
life, put announces the worker before; then those of the same incarnation live on.
On Redis nobody renews that, so the worker has no lease: it stays until somebody
announces it, or removes its records.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, hashes []string) error {
			rs, err := p.records(hashes)
			if err != nil {
				return err
			}
			return x.withIndex(c.Context(), true, func(i index.Index, _ indexURL) error {
				if c.Flags().Changed("incarnation") {
					if err := i.Announce(c.Context(), p.worker, p.incarnation); err != nil {
						return typed(err)
					}
				}
				if err := i.Put(c.Context(), rs); err != nil {
					return typed(err)
				}
				if err := x.flush(c.Context(), i); err != nil {
					return err
				}
				m, err := i.Metrics(c.Context())
				out := putReport{len(rs), m.Seq}
				return errors.Join(err, x.print(out, out.write))
			})
		},
	}
	f := c.Flags()
	p.add(f)
	f.StringVar(&p.prefix, "prefix", index.Root, "hash of the first block's parent; root begins a prompt, '' is not known")
	f.StringVar(&p.worker, "worker", "", "who holds the blocks")
	f.StringVar(&p.tier, "tier", index.HBM.String(), "where: hbm, remote_hbm, cpu_dram, local_ssd, object_store")
	f.Uint32Var(&p.position, "position", 0, "of the first block in its prompt")
	f.Uint32Var(&p.group, "group", 0, "KV group")
	f.Uint32Var(&p.tokens, "tokens", 0, "tokens in a block")
	f.Var(&p.size, "bytes", "bytes of a block, as 4MiB")
	f.Uint32Var(&p.refs, "refs", 0, "who uses the blocks now; they do not expire then")
	f.BoolVar(&p.pinned, "pinned", false, "the blocks do not expire")
	f.StringVar(&p.used, "used", "", "`time` of the last use, as 2026-01-31T12:00:00Z (default now)")
	f.Uint64Var(&p.incarnation, "incarnation", 0, "announce the worker with this number of its present life")
	return c
}

func (p *putting) records(hashes []string) ([]index.Record, error) {
	scope, err := p.get()
	if err != nil {
		return nil, err
	}
	if !p.flags.Changed("worker") {
		return nil, usage(errors.New("--worker is missing"))
	}
	tier, err := index.ParseTier(p.tier)
	if err != nil {
		return nil, usage(fmt.Errorf("--tier: %w", err))
	}
	used := time.Now()
	if p.used != "" {
		if used, err = time.Parse(time.RFC3339, p.used); err != nil || used.UnixMilli() < 0 {
			return nil, usage(fmt.Errorf("--used %q is no time as 2026-01-31T12:00:00Z", p.used))
		}
	}
	if uint64(p.position)+uint64(len(hashes)) > 1<<32 {
		return nil, usage(fmt.Errorf("--position %d: %d blocks behind it have no number", p.position, len(hashes)))
	}
	rs := make([]index.Record, len(hashes))
	parent := p.prefix
	for i, h := range hashes {
		rs[i] = index.Record{
			Key: index.Key{
				Scope: scope, Prefix: parent, Hash: h, Index: p.position + uint32(i),
				Group: p.group, Tokens: p.tokens,
			},
			Worker: p.worker, Tier: tier, Bytes: uint64(p.size), LastAccess: uint64(used.UnixMilli()),
			Refs: p.refs, Pinned: p.pinned,
		}
		parent = h
	}
	return rs, nil
}

func (r putReport) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s put, change %d\n", count(r.Put, "record"), r.Seq)
	return err
}
