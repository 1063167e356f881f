package gpu

import "sync/atomic"

// Stats are counts since New.
type Stats struct {
	Jobs        uint64 // that ended, single pages and digests included
	Pages       uint64 // copied, or their digests taken
	Bytes       uint64 // that crossed the link, digests and tables included
	Submissions uint64 // calls of Stream.Submit
	Launches    uint64 // of gather, scatter, digests and comparisons
	Copies      uint64 // handed to the driver, after merging
	Fenced      uint64 // pages whose copy has no known end
	// CodedPages crossed the link coded, as CodedBytes in place of PlainBytes.
	CodedPages, CodedBytes, PlainBytes uint64
}

// counters are Stats while they grow.
type counters struct {
	jobs, pages, bytes, submissions, launches, copies, fenced atomic.Uint64
	codedPages, codedBytes, codedFrom                         atomic.Uint64
}

// Stats returns the counts.
func (p *Pager) Stats() Stats {
	c := &p.cache.counts
	return Stats{
		Jobs: c.jobs.Load(), Pages: c.pages.Load(), Bytes: c.bytes.Load(), Submissions: c.submissions.Load(),
		Launches: c.launches.Load(), Copies: c.copies.Load(), Fenced: c.fenced.Load(),
		CodedPages: c.codedPages.Load(), CodedBytes: c.codedBytes.Load(), PlainBytes: c.codedFrom.Load(),
	}
}
