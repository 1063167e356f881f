package codecs

import (
	"context"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

// Line is what was found of a codec on the pages of a file. Rates are 10^9
// plain bytes per second in one thread: medians of N rounds.
type Line struct {
	File   string  `json:"file"`
	Codec  string  `json:"codec"`
	Role   string  `json:"role"` // ours, limit or peer
	Ratio  float64 `json:"ratio"`
	Encode float64 `json:"encode_gbps"` // in cache
	Decode float64 `json:"decode_gbps"`
	// EncodeDRAM and DecodeDRAM are of memory that no cache holds, 0 if that is
	// not measured.
	EncodeDRAM float64 `json:"encode_dram_gbps,omitempty"`
	DecodeDRAM float64 `json:"decode_dram_gbps,omitempty"`
	// Memcpy and MemcpyDRAM are of a copy in the same rounds.
	Memcpy     float64 `json:"memcpy_gbps"`
	MemcpyDRAM float64 `json:"memcpy_dram_gbps"`
	Pages      int     `json:"pages"`
	Threads    int     `json:"threads"`
	N          int     `json:"n"`
}

// Measure measures all codecs on sets, in turns, and returns a line for each of
// a set and codec. A codec that changes a page is ErrCorrupt. What the peers
// could not do is told by e.Log.
func Measure(ctx context.Context, e *harness.Env, sets []*pages.Set) ([]Line, error) {
	if e.Log == nil {
		own := *e
		own.Log = func(string, ...any) {}
		e = &own
	}
	p := newPeers(e, sets)
	defer p.close()
	var all [][]*subject
	for _, set := range sets {
		subjects, err := prepare(set)
		if err != nil {
			return nil, err
		}
		all = append(all, subjects)
	}
	if err := measure(ctx, e, sets, all, p); err != nil {
		return nil, err
	}
	if p.failed != nil {
		e.Log("codec: zipnn, zstd and lz4 in C: %v", p.failed)
	}
	var out []Line
	for i, set := range sets {
		out = append(out, lines(set, all[i], p)...)
	}
	return out, nil
}

// measure makes the rounds.
func measure(ctx context.Context, e *harness.Env, sets []*pages.Set, all [][]*subject, p *peers) error {
	for r := range max(1, e.Rounds) {
		e.Log("codec: round %d of %d", r+1, max(1, e.Rounds))
		for i, set := range sets {
			if err := round(ctx, r, set, all[i], e.Scale); err != nil {
				return err
			}
		}
		if err := p.round(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// lines are those of one set.
func lines(set *pages.Set, all []*subject, p *peers) []Line {
	limit := named(all, memcpy)
	line := func(codec string, role harness.Role, ratio, encode, decode *harness.Figure) Line {
		l := Line{File: set.Name, Codec: codec, Role: string(role), Ratio: median(ratio), Encode: giga(encode), Decode: giga(decode)}
		l.Memcpy, l.MemcpyDRAM = giga(limit.cache.encode), giga(limit.dram.encode)
		l.Pages, l.Threads, l.N = len(set.Pages), 1, len(encode.Samples)
		if role == harness.Ours {
			l.Role = "ours"
		}
		return l
	}
	var out []Line
	for _, x := range all {
		l := line(x.name, x.role, x.ratio, x.cache.encode, x.cache.decode)
		if x.dram != nil {
			l.EncodeDRAM, l.DecodeDRAM = giga(x.dram.encode), giga(x.dram.decode)
		}
		out = append(out, l)
	}
	for _, c := range p.codecs(set) {
		if f := p.rates(set, c); f.ratio != nil && f.encode != nil && f.decode != nil {
			out = append(out, line(c, harness.Peer, f.ratio, f.encode, f.decode))
		}
	}
	return out
}

func median(f *harness.Figure) float64 { return harness.Median(f.Samples) }

func giga(f *harness.Figure) float64 { return median(f) / 1e9 }
