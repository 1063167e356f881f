package index

import (
	"encoding/binary"
	"strconv"

	"github.com/kvferry/kvferry/index"
)

// Names of the harness's workload.
const (
	harnessWorker = "worker-0"
	incarnation   = 1
)

func harnessScope() index.Scope {
	return index.Scope{Model: "bench-model", Tokenizer: "bench-tok", Tenant: "bench-tenant"}
}

// block returns the harness's block i of a request: a shared one, or its own.
func (h *Harness) block(request, i int) index.Record {
	r := index.Record{
		Key:    index.Key{Scope: harnessScope(), Index: uint32(i), Tokens: h.BlockTokens},
		Worker: harnessWorker, Tier: index.HBM, Bytes: h.BlockBytes,
	}
	if i < h.SharedBlocks {
		n := strconv.Itoa(i)
		r.Prefix, r.Hash = "sp-"+n, "shared-"+n
		return r
	}
	n := strconv.Itoa(request) + "-" + strconv.Itoa(i-h.SharedBlocks)
	r.Prefix, r.Hash = "uq-"+n, "uniq-"+n
	return r
}

// userBytes are the bytes that a record hands to an index: strings at their
// length, numbers at their width.
func userBytes(r *index.Record) uint64 {
	const numbers = 4 + 4 + 4 + 1 + 8 + 8 + 4 + 1 // index, group, tokens, tier, bytes, access, refs, pinned
	adapter, _ := r.Adapter.Name()
	return uint64(len(r.Model) + len(r.Tokenizer) + len(adapter) + len(r.Tenant) + len(r.Prefix) + len(r.Hash) + len(r.Worker) + numbers)
}

// A population is many records of one scope: prompts of promptBlocks blocks,
// each on one of popWorkers workers, their hashes decimal as vLLM's are. Its
// first records have one parent, for long results.
type population struct {
	n, fan  int
	workers []string
}

const (
	popWorkers   = 64
	promptBlocks = 200
	fanPrefix    = "fan"
	fanMost      = 1000
)

func newPopulation(n int) *population {
	p := &population{n: n, fan: min(fanMost, n/10)}
	for w := range popWorkers {
		p.workers = append(p.workers, "worker-"+strconv.Itoa(w))
	}
	return p
}

// mix is splitmix64: numbers that look like an engine's hashes.
func mix(n uint64) uint64 {
	n = (n + 1) * 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

func hashOf(i int) string { return strconv.FormatUint(mix(uint64(i)), 10) }

// prefix returns the parent of record i.
func (p *population) prefix(i int) string {
	switch {
	case i < p.fan:
		return fanPrefix
	case (i-p.fan)%promptBlocks == 0:
		return index.Root
	}
	return hashOf(i - 1)
}

// record makes record i.
func (p *population) record(i int) index.Record {
	r := index.Record{
		Key:    index.Key{Scope: harnessScope(), Prefix: p.prefix(i), Hash: hashOf(i), Tokens: 64},
		Worker: p.worker(i), Tier: index.HBM, Bytes: 4 << 20, LastAccess: 1_750_000_000_000 + uint64(i),
	}
	if i >= p.fan {
		r.Index = uint32((i - p.fan) % promptBlocks)
	}
	return r
}

// worker returns who holds record i: whole prompts lie on one worker.
func (p *population) worker(i int) string { return p.workers[max(0, i-p.fan)/promptBlocks%popWorkers] }

// removal selects record i.
func (p *population) removal(i int) index.Removal {
	return index.Removal{Scope: harnessScope(), Worker: p.worker(i), Hash: hashOf(i)}
}

// prompt returns the hashes of the prompt that record i begins or is in.
func (p *population) prompt(i int) []string {
	first := p.fan + max(0, i-p.fan)/promptBlocks*promptBlocks
	var out []string
	for j := first; j < min(p.n, first+promptBlocks); j++ {
		out = append(out, hashOf(j))
	}
	return out
}

// draws are numbers in no order, the same in each run.
type draws uint64

func (d *draws) below(n int) int {
	*d++
	return int(mix(uint64(*d)^binary.LittleEndian.Uint64([]byte("kvferry!"))) % uint64(n))
}
