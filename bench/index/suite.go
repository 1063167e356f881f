package index

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
)

// Suite measures the indexes for bench all.
func Suite() harness.Suite {
	return harness.Suite{Name: "index", Title: "Residency indexes", Run: suite}
}

// suiteRounds bounds the rounds: one fills populations several times, at the
// full scale of a million records.
const (
	suiteRounds = 3
	quickRounds = 2
)

// roundsOf is how often all is done.
func roundsOf(e *harness.Env) int {
	if e.Scale == harness.Quick {
		return min(e.Rounds, quickRounds)
	}
	return min(e.Rounds, suiteRounds)
}

// suiteFill is how long it may take to put a population: ours have a million in
// three seconds. Holt, which goes through all that it has not written yet for
// each of these when it writes them, is asked for fewer.
const (
	suiteFill        = 10 * time.Second
	suitePeerRecords = 10_000
)

// fsdirRequests are those of the workload that fsdir gets: each put makes files
// durable, and the whole workload takes minutes.
const fsdirRequests = 100

// suite measures the indexes that are made for many records, beside the peers,
// and then the others.
func suite(ctx context.Context, e *harness.Env, s *harness.Section) error {
	s.Note("The workload of QuillCache's index benchmark (2,000 requests of 20 blocks, then scans), and populations of more "+
		"records, each backend in processes of its own; %d rounds. Times of calls have the clock's own in them. Peers are "+
		"programs that run the same workload: Holt as QuillCache's index uses it, with %d records at most, for a million do not "+
		"get in within a minute. art-write, lsm and redis are only asked for few records here, too, and fsdir for %d requests of "+
		"the workload, at the full scale alone; they come after the others, in rounds of their own, and are held beside no peer. "+
		"`kvferry bench index` asks all of them for more.",
		roundsOf(e), suitePeerRecords, fsdirRequests)
	for i, names := range [][]string{{"memory", "art"}, {"art-write", "lsm", "redis"}, {"fsdir"}} {
		if i == 2 && e.Scale == harness.Quick {
			break
		}
		o := suiteOptions(e, i == 0)
		o.Backends = nil
		if i == 2 { // two files for each put
			o.Records, o.Harness.Requests = nil, min(o.Harness.Requests, fsdirRequests)
		}
		for _, name := range names {
			b, err := named(name)
			if err != nil {
				return err
			}
			if why := b.lacks(); why != "" {
				s.Miss(name, why)
				continue
			}
			o.Backends = append(o.Backends, name)
		}
		res, err := Run(ctx, o)
		if err != nil {
			return err
		}
		if i == 0 {
			limits(s, &res.Limits)
		}
		addReports(s, res.Reports)
		for _, m := range res.Missing {
			s.Miss(m.Name, m.Why)
		}
	}
	if programs, err := peers(e.Peers); err != nil || len(programs) == 0 {
		s.Miss("holt", e.Why("index-holt"))
	}
	goals(s, e.Scale)
	return nil
}

// suiteOptions are those of a scale: large populations, and peers, or neither.
func suiteOptions(e *harness.Env, large bool) Options {
	o := Defaults()
	o.Dir, o.Self, o.Rounds = e.Dir, slices.Concat(e.Self, []string{"index", "child"}), roundsOf(e)
	o.Progress = func(step string) { e.Log("index: %s", step) }
	o.Fill = suiteFill
	if large {
		o.Peers, o.PeerMost = e.Peers, suitePeerRecords
	}
	switch e.Scale {
	case harness.Full:
		o.Each, o.Records = 150*time.Millisecond, []int{10_000}
		if large {
			o.Records = append(o.Records, 1_000_000)
		}
	case harness.Smoke:
		o.Each = time.Millisecond // no population: each is asked to match against 10^5 records
		o.Harness.Requests, o.Harness.ScanQueries, o.Clients = 50, 100, 2
	default:
		o.Each, o.Records = 25*time.Millisecond, []int{10_000}
		if large {
			o.Records = []int{100_000}
		}
	}
	return o
}

// limits adds what the machine gives by itself; of one run, so n is 1.
func limits(s *harness.Section, l *Limits) {
	for _, x := range []struct {
		op string
		ns float64
	}{
		{"clock", l.Clock.P50US * 1e3}, {"copy-record", l.CopyRecord}, {"write-100B", l.Write.P50US * 1e3},
		{"fdatasync-4KiB", l.Sync.P50US * 1e3}, {"fdatasync-1MiB", l.Sync1M.P50US * 1e3}, {"loopback", l.RoundTrip.P50US * 1e3},
	} {
		f := s.Figure("op="+x.op, harness.Nanoseconds)
		f.Role = harness.Limit
		f.Add(x.ns)
	}
}

// addReports adds the figures of all rounds of one Run, and holds ours beside
// the best peer. Those of another Run are of other rounds, which no ratio is of.
func addReports(s *harness.Section, reports []Report) {
	before := len(s.Figures)
	for i := range reports {
		r := &reports[i]
		a := adder{s: s, by: "/index=" + key(r.Backend), peer: r.Peer}
		if !r.Persistent {
			a.note = "keeps nothing on a disk"
		}
		if r.Peer && r.Round == 1 {
			s.Version(r.Backend)
		}
		a.rate("put", r.IngestPerSec)
		a.time("scan-p50", r.ScanP50US)
		a.time("scan-p99", r.ScanP99US)
		if r.Persistent {
			a.add("write-amplification", harness.Times, r.WriteAmplification)
		}
		for j := range r.Populations {
			a.population(&r.Populations[j])
		}
		for _, failure := range r.Failures {
			s.Miss(r.Backend, failure)
		}
	}
	for _, f := range s.Figures[before:] {
		if f.Role == harness.Ours {
			f.Beside(rivals(s.Figures[before:], f)...)
		}
	}
}

// key makes a name fit for that of a figure.
func key(name string) string { return strings.NewReplacer(" ", "-", "/", "-").Replace(name) }

// adder adds samples of one backend.
type adder struct {
	s    *harness.Section
	by   string
	peer bool
	note string
	// short is why what is added is not of as many records as its name says, "" if
	// it is.
	short string
}

// add appends a sample to the figure of an operation.
func (a *adder) add(op string, u harness.Unit, v float64) {
	name := "op=" + op + a.by
	f := figure(a.s, name, u)
	if f.Note = a.note; a.peer {
		f.Role = harness.Peer
	}
	if a.short != "" { // in one round: no median is of all records then
		f.Unjudged = a.short
	}
	f.Add(v)
}

// figure returns the section's figure of a name, a new one if there is none.
func figure(s *harness.Section, name string, u harness.Unit) *harness.Figure {
	for _, f := range s.Figures {
		if f.Name == name {
			return f
		}
	}
	return s.Figure(name, u)
}

func (a *adder) rate(op string, v float64) {
	if v > 0 { // else it was not measured
		a.add(op, harness.PerSecond, v)
	}
}

func (a *adder) time(op string, us float64) {
	if us > 0 {
		a.add(op, harness.Nanoseconds, us*1e3)
	}
}

// population adds the figures of many records.
func (a adder) population(p *Population) {
	a.by += "/records=" + number(float64(p.Asked))
	if p.Records < p.Asked {
		a.short = fmt.Sprintf("it held %d records when its time to fill was over", p.Records)
		a.s.Note("%s: %s.", a.by[1:], a.short)
	}
	a.rate("fill", p.PutsPerSec)
	a.time("scan-p50", p.Scan.P50US)
	a.time("scan-p99", p.Scan.P99US)
	a.time("scan-miss-p50", p.ScanMiss.P50US)
	a.time("remove-p50", p.Remove.P50US)
	if p.MemoryBytes > 0 {
		a.add("memory-per-record", harness.Bytes, p.MemoryBytes)
	}
	if p.Amplified > 0 {
		a.add("write-amplification", harness.Times, p.Amplified)
	}
	if p.ReopenMS > 0 {
		a.add("reopen", harness.Seconds, p.ReopenMS/1e3)
	}
	for _, d := range p.Durable {
		if d.Writers == 16 && d.Batch >= 256 {
			a.rate("put-durable-16x"+number(float64(d.Batch)), d.PutsPerSec)
		}
	}
	for _, m := range p.Match {
		if m.Clients == 1 {
			a.time("match-"+number(float64(m.Blocks))+"-blocks-p50", m.Call.P50US)
		}
	}
}

// goals sets all of them, whether a scale measures what they are about or not.
func goals(s *harness.Section, scale harness.Scale) {
	const million = "/records=1000000"
	at := func(op string, u harness.Unit, g harness.Goal) {
		f := figure(s, "op="+op, u)
		if f.Goal = g; scale != harness.Full && strings.HasSuffix(op, million) {
			f.Unjudged = "a million records are put at the full scale alone"
		}
	}
	const rate, nanoseconds = harness.PerSecond, harness.Nanoseconds
	at("put/index=memory", rate, harness.Goal{AtLeast: 3e6})
	at("scan-p99/index=memory", nanoseconds, harness.Goal{AtMost: 1000})
	at("put/index=art-write", rate, harness.Goal{AtLeast: 7e5})
	at("scan-p50/index=art", nanoseconds, harness.Goal{AtMost: 500})
	at("fill/index=memory"+million, rate, harness.Goal{AtLeast: 1.5e6})
	at("scan-p99/index=memory"+million, nanoseconds, harness.Goal{AtMost: 3000})
	at("scan-p99/index=art"+million, nanoseconds, harness.Goal{AtMost: 3000})
	at("memory-per-record/index=memory"+million, harness.Bytes, harness.Goal{AtMost: 250})
	at("reopen/index=art"+million, harness.Seconds, harness.Goal{AtMost: 0.3})
	at("write-amplification/index=art"+million, harness.Times, harness.Goal{AtMost: 1.2})
	at("put-durable-16x2048/index=art"+million, rate, harness.Goal{AtLeast: 4e5})
	at("match-2000-blocks-p50/index=memory"+million, nanoseconds, harness.Goal{AtMost: 1e5})
}

// rivals are the peers' figures of the same thing, rates and times, and of as
// many records.
func rivals(all []*harness.Figure, f *harness.Figure) []*harness.Figure {
	var out []*harness.Figure
	if f.Unjudged != "" || f.Unit != harness.PerSecond && f.Unit != harness.Nanoseconds {
		return nil
	}
	for _, p := range all {
		if p.Role == harness.Peer && p.Unjudged == "" && thing(p.Name) == thing(f.Name) {
			out = append(out, p)
		}
	}
	return out
}

// thing is a figure's name without the index that it is of.
func thing(name string) string {
	var out []string
	for part := range strings.SplitSeq(name, "/") {
		if !strings.HasPrefix(part, "index=") {
			out = append(out, part)
		}
	}
	return strings.Join(out, "/")
}
