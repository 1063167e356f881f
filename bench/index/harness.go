package index

import (
	"context"
	"strconv"
	"time"

	"github.com/kvferry/kvferry/index"
)

// run is the original's harness on an index that is empty.
func (h *Harness) run(ctx context.Context, o *opened, rep *Report) error {
	rep.Backend, rep.Persistent, rep.Server = o.b.Name, o.b.Persistent, o.b.runs()
	before, err := counted(o.pid)
	if err != nil {
		return err
	}
	if err := o.x.Announce(ctx, harnessWorker, incarnation); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *opened, *Report) error{h.ingest, h.churn, h.scan} {
		if err := step(ctx, o, rep); err != nil {
			return err
		}
	}
	if err := o.x.Flush(ctx); err != nil {
		return err
	}
	if rep.Kernel, err = since(o.pid, before); err != nil {
		return err
	}
	if rep.Persistent {
		rep.PhysicalBytes = rep.Kernel.WriteBytes
		rep.WriteAmplification = ratio(rep.PhysicalBytes, rep.UserBytes)
	}
	m, err := o.x.Metrics(ctx)
	if err != nil {
		return err
	}
	rep.Metrics = Metrics{m.ResidentBlocks, m.ResidentBytes, m.Puts, m.Removes, m.PrefixScans, m.BytesWritten}
	rep.DiskBytes, err = diskBytes(o.dir)
	return err
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// since is what the kernel counted of a process after before was.
func since(pid int, before Kernel) (Kernel, error) {
	now, err := counted(pid)
	return Kernel{now.WriteBytes - before.WriteBytes, now.WriteChars - before.WriteChars, now.Writes - before.Writes}, err
}

// ingest puts the blocks of all requests, one in a call.
func (h *Harness) ingest(ctx context.Context, o *opened, rep *Report) error {
	var w stopwatch
	each := h.SharedBlocks + h.UniqueBlocks
	total := h.Requests * each
	rs := make([]index.Record, 0, chunk)
	for next := 0; next < total; {
		rs = rs[:0]
		for ; next < total && len(rs) < chunk; next++ {
			rs = append(rs, h.block(next/each, next%each))
			rep.UserBytes += userBytes(&rs[len(rs)-1])
		}
		w.start()
		for i := range rs {
			if err := o.x.Put(ctx, rs[i:i+1]); err != nil {
				return err
			}
		}
		w.stop()
	}
	rep.BlocksIngested, rep.IngestSecs, rep.IngestPerSec = uint64(total), w.total.Seconds(), perSecond(total, w.total)
	rep.IngestPerCPUSec = w.perCPU(o, total)
	return nil
}

// churn removes the blocks of one request and puts them again, in each cycle.
func (h *Harness) churn(ctx context.Context, o *opened, rep *Report) error {
	var w stopwatch
	rs := make([]index.Record, h.UniqueBlocks)
	removals := make([]index.Removal, h.UniqueBlocks)
	for c := range h.ChurnOps {
		for j := range rs {
			rs[j] = h.block(c%max(1, h.Requests), h.SharedBlocks+j)
			removals[j] = index.Removal{Scope: rs[j].Scope, Worker: rs[j].Worker, Hash: rs[j].Hash}
			rep.UserBytes += userBytes(&rs[j]) + uint64(len(rs[j].Hash)+len(rs[j].Worker))
		}
		w.start()
		for j := range removals {
			if _, err := o.x.Remove(ctx, removals[j:j+1]); err != nil {
				return err
			}
		}
		for j := range rs {
			if err := o.x.Put(ctx, rs[j:j+1]); err != nil {
				return err
			}
		}
		w.stop()
	}
	ops := h.ChurnOps * h.UniqueBlocks * 2
	rep.ChurnOps, rep.ChurnSecs, rep.ChurnPerSec = uint64(ops), w.total.Seconds(), perSecond(ops, w.total)
	return nil
}

// scan asks for the shared prefixes, and then for as many that are not there.
func (h *Harness) scan(ctx context.Context, o *opened, rep *Report) error {
	s := harnessScope()
	hits, misses := make([]string, max(1, h.SharedBlocks)), make([]string, max(1, h.SharedBlocks))
	for i := range hits {
		hits[i], misses[i] = "sp-"+strconv.Itoa(i), "no-"+strconv.Itoa(i)
	}
	expected := min(1, h.Requests*h.SharedBlocks)
	var dst []index.Record
	ask := func(prefixes []string, n int) (Latency, error) {
		return timed(ctx, h.ScanQueries, time.Hour, func(i int) (int, error) {
			var err error
			if dst, err = o.x.Scan(ctx, &s, prefixes[i%len(prefixes)], dst[:0]); err != nil {
				return 0, err
			}
			return len(dst), want("scan", len(dst), n)
		})
	}
	l, err := ask(hits, expected)
	if err != nil {
		return err
	}
	rep.ScanQueries, rep.ScanMeanUS, rep.ScanP50US, rep.ScanP99US, rep.ScanP999US = uint64(l.Calls), l.MeanUS, l.P50US, l.P99US, l.P999US
	rep.Misses, err = ask(misses, 0)
	return err
}
