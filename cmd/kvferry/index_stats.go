package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/index"
)

// indexStats is the JSON document of index stats.
type indexStats struct {
	Index      string        `json:"index"`
	Backend    string        `json:"backend"`
	Persistent bool          `json:"persistent"`
	Shared     bool          `json:"shared"`
	Rules      string        `json:"rules"`
	Metrics    indexMetrics  `json:"metrics"`
	Workers    []indexWorker `json:"workers"`
}

// indexMetrics are index.Metrics as a document.
type indexMetrics struct {
	ResidentBlocks uint64 `json:"resident_blocks"`
	ResidentBytes  uint64 `json:"resident_bytes"`
	Puts           uint64 `json:"puts"`
	Removes        uint64 `json:"removes"`
	PrefixScans    uint64 `json:"prefix_scans"`
	BytesWritten   uint64 `json:"bytes_written"`
	StaleBlocks    uint64 `json:"stale_blocks"`
	Locates        uint64 `json:"locates"`
	Matches        uint64 `json:"matches"`
	Cleared        uint64 `json:"cleared"`
	Expired        uint64 `json:"expired"`
	Workers        uint64 `json:"workers"`
	Seq            uint64 `json:"seq"`
}

// indexWorker is index.Worker as a document.
type indexWorker struct {
	Worker      string `json:"worker_id"`
	Incarnation uint64 `json:"incarnation"`
	Stale       bool   `json:"stale"`
	Blocks      uint64 `json:"resident_blocks"`
}

func (x *indexing) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [--index URL]",
		Short: "Say what an index is and how much it holds of which worker",
		Long: `Stats counts the records of an index and of each of its workers, without looking at
them. Counts of puts, removals and questions begin when the index is opened, so they
say something of a server's index (http://…) only.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return x.withIndex(c.Context(), false, func(i index.Index, u indexURL) error {
				m, err := i.Metrics(c.Context())
				if err != nil {
					return err
				}
				ws, err := i.Workers(c.Context())
				if err != nil {
					return err
				}
				about := i.Info()
				out := indexStats{
					Index: u.String(), Backend: about.Name, Persistent: about.Persistent, Shared: about.Shared, Rules: about.Rules.String(),
					Metrics: indexMetrics(m), Workers: []indexWorker{},
				}
				for _, w := range ws {
					out.Workers = append(out.Workers, indexWorker{w.Name, w.Incarnation, w.Stale, w.Blocks})
				}
				return x.print(out, out.write)
			})
		},
	}
}

func (s indexStats) write(w io.Writer) error {
	m := &s.Metrics
	pairs := []string{
		"index", s.Index,
		"backend", s.kind(),
		"resident", fmt.Sprintf("%s, %s", count(m.ResidentBlocks, "block"), size(int64(m.ResidentBytes))),
	}
	if m.StaleBlocks > 0 {
		pairs = append(pairs, "stale", count(m.StaleBlocks, "block")+" of workers that have not announced themselves since")
	}
	pairs = append(pairs,
		"newest change", strconv.FormatUint(m.Seq, 10),
		"since opened", fmt.Sprintf("%d put, %d removed, %d cleared, %d expired; %s, %s, %s; %s written", m.Puts, m.Removes, m.Cleared, m.Expired,
			count(m.PrefixScans, "scan"), count(m.Locates, "lookup"), countOf(m.Matches, "match", "matches"), size(int64(m.BytesWritten))),
	)
	if err := facts(w, pairs...); err != nil {
		return err
	}
	rows := [][]string{{"WORKER", "BLOCKS", "INCARNATION", "STATE"}}
	for _, v := range s.Workers {
		state := "live"
		if v.Stale {
			state = "stale"
		}
		rows = append(rows, []string{printable(v.Worker), strconv.FormatUint(v.Blocks, 10), strconv.FormatUint(v.Incarnation, 10), state})
	}
	return columns(w, rows)
}

func (s indexStats) kind() string {
	out := s.Backend
	if s.Persistent {
		out += ", persistent"
	}
	if s.Shared {
		out += ", shared"
	}
	return out + ", rules " + s.Rules
}

// countOf returns a number and its noun.
func countOf(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + more
}
