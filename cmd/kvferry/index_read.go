package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
)

// recordList is the JSON document of index locate and scan.
type recordList struct {
	Records []json.RawMessage `json:"records"`
	list    []index.Record
}

func listRecords(rs []index.Record) recordList {
	out := recordList{Records: []json.RawMessage{}, list: rs}
	for i := range rs {
		out.Records = append(out.Records, rs[i].AppendJSON(nil))
	}
	return out
}

func (l recordList) write(w io.Writer) error {
	rows := [][]string{{"WORKER", "TIER", "BLOCK", "PARENT", "POSITION", "GROUP", "SIZE", "PINNED"}}
	for i := range l.list {
		r := &l.list[i]
		rows = append(rows, []string{
			printable(r.Worker), r.Tier.String(), printable(r.Hash), printable(r.Prefix), strconv.FormatUint(uint64(r.Index), 10),
			strconv.FormatUint(uint64(r.Group), 10), size(int64(r.Bytes)), strconv.FormatBool(r.Pinned),
		})
	}
	if err := columns(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, count(len(l.list), "record"))
	return err
}

// printable returns s, in quotation marks if it would not show as it is.
func printable(s string) string {
	if q := strconv.Quote(s); q[1:len(q)-1] != s || s == "" || strings.ContainsRune(s, ' ') {
		return q
	}
	return s
}

func (x *indexing) locateCommand() *cobra.Command {
	var s scopeFlags
	var k index.Key
	c := &cobra.Command{
		Use:   "locate HASH --model M --tokenizer T --tenant X [--prefix PARENT] [--position N]",
		Short: "Say which workers hold a block, and where",
		Long: `Locate lists the live records of one block, which is named by its scope, its hash,
its parent's hash and its position. See match for a whole prompt.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if k.Scope, err = s.get(); err != nil {
				return err
			}
			k.Hash = args[0]
			return x.withIndex(c.Context(), false, func(i index.Index, _ indexURL) error {
				rs, err := i.Locate(c.Context(), &k, nil)
				if err != nil {
					return err
				}
				out := listRecords(rs)
				return x.print(out, out.write)
			})
		},
	}
	f := c.Flags()
	s.add(f)
	f.StringVar(&k.Prefix, "prefix", index.Root, "hash of the block's parent; root begins a prompt, '' is not known")
	f.Uint32Var(&k.Index, "position", 0, "of the block in its prompt")
	f.Uint32Var(&k.Group, "group", 0, "KV group")
	f.Uint32Var(&k.Tokens, "tokens", 0, "tokens in the block; looked at with --rules as-memory only")
	return c
}

func (x *indexing) scanCommand() *cobra.Command {
	var s scopeFlags
	c := &cobra.Command{
		Use:   "scan [PARENT] --model M --tokenizer T --tenant X",
		Short: "List the blocks behind a parent",
		Long: `Scan lists the live records of a scope whose parent is PARENT: root, if none is
given, for the blocks that begin a prompt.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			scope, err := s.get()
			if err != nil {
				return err
			}
			parent := index.Root
			if len(args) > 0 {
				parent = args[0]
			}
			return x.withIndex(c.Context(), false, func(i index.Index, _ indexURL) error {
				rs, err := i.Scan(c.Context(), &scope, parent, nil)
				if err != nil {
					return err
				}
				out := listRecords(rs)
				return x.print(out, out.write)
			})
		},
	}
	s.add(c.Flags())
	return c
}

// matching is what index match asks.
type matching struct {
	scopeFlags

	query  index.Query
	prompt httpapi.Prompt
	tokens []uint
}

// matchReport is the answer of index match.
type matchReport struct {
	blocks  int
	matches []index.Match
}

func (x *indexing) matchCommand() *cobra.Command {
	var m matching
	c := &cobra.Command{
		Use:   "match {HASH… | - | --token-ids N,… --block-size N} --model M --tokenizer T --tenant X",
		Short: "Say how much of a prompt each worker holds",
		Long: `Match takes the hashes of a prompt's blocks, from its first, and says for each worker
how many of them it holds without a gap: in any tier, and in each tier alone. With -
the hashes are read from standard input, one a line.

With --token-ids it hashes the prompt itself, as the engine does whose events the
index was fed with: --hash sha256 (vLLM), sha256_cbor or sglang.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := m.read(x, args); err != nil {
				return err
			}
			return x.withIndex(c.Context(), false, func(i index.Index, _ indexURL) error {
				ms, err := i.Match(c.Context(), &m.query, nil)
				if err != nil {
					return err
				}
				out := matchReport{len(m.query.Hashes), ms}
				return x.print(json.RawMessage(httpapi.AppendMatches(nil, out.blocks, out.matches)), out.write)
			})
		},
	}
	f := c.Flags()
	m.add(f)
	f.Uint32Var(&m.query.Group, "group", 0, "KV group")
	f.StringArrayVar(&m.query.Workers, "worker", nil, "ask of this worker only; may be repeated")
	f.UintSliceVar(&m.tokens, "token-ids", nil, "the prompt as `ids` of tokens")
	f.Uint32Var(&m.prompt.BlockSize, "block-size", 16, "tokens in a block")
	f.StringVar(&m.prompt.Algorithm, "hash", "sha256", "how the engine hashes blocks: sha256, sha256_cbor or sglang")
	f.StringVar(&m.prompt.HashForm, "hash-form", "int", "how its events write hashes: int or bytes")
	f.StringVar(&m.prompt.Seed, "hash-seed", "", "PYTHONHASHSEED of vLLM's processes, if it is set")
	return c
}

// read makes a question of arguments and flags.
func (m *matching) read(x *indexing, args []string) (err error) {
	if m.query.Scope, err = m.get(); err != nil {
		return err
	}
	byTokens := m.flags.Changed("token-ids")
	switch {
	case byTokens == (len(args) > 0):
		return usage(errors.New("give hashes of blocks, - for standard input, or --token-ids"))
	case byTokens:
		for _, n := range m.tokens {
			if n > 1<<32-1 {
				return usage(fmt.Errorf("--token-ids: %d is no token", n))
			}
			m.prompt.Tokens = append(m.prompt.Tokens, uint32(n))
		}
		m.query.Hashes, err = m.prompt.Hashes()
		return typed(err)
	case len(args) == 1 && args[0] == "-":
		lines := bufio.NewScanner(x.in)
		lines.Buffer(nil, index.MaxFieldBytes+2)
		for lines.Scan() {
			m.query.Hashes = append(m.query.Hashes, lines.Text())
		}
		return lines.Err()
	}
	m.query.Hashes = args
	return nil
}

func (m matchReport) write(w io.Writer) error {
	rows := [][]string{{"WORKER", "BLOCKS"}}
	for t := index.Tier(1); t < index.Tiers; t++ {
		rows[0] = append(rows[0], strings.ToUpper(t.String()))
	}
	for _, v := range m.matches {
		row := []string{printable(v.Worker), fmt.Sprintf("%d of %d", v.Blocks, m.blocks)}
		for _, n := range v.InTier[1:] {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	if err := columns(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s with some of %s\n", count(len(m.matches), "worker"), count(m.blocks, "block"))
	return err
}
