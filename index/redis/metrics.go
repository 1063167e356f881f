package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// stats are counts that the server keeps.
type stats struct {
	seq     uint64
	workers map[string]*tally
}

// tally is what is counted of a worker.
type tally struct{ incarnation, records, low, high uint64 }

// stats asks for the counts, without those of workers whose lease ran out.
func (x *Index) stats(ctx context.Context, op string) (*stats, error) {
	if !x.single {
		return x.statsCluster(ctx, op)
	}
	a, err := x.ask(ctx, op, &request{statsScript, "*", x.args(0)})
	if err != nil {
		return nil, err
	}
	s := &stats{workers: map[string]*tally{}}
	if err := s.add(a.parts); err != nil {
		return nil, err
	}
	for _, w := range a.dead {
		delete(s.workers, w)
	}
	return s, nil
}

// add adds the counts of a server's answer.
func (s *stats) add(parts []rueidis.RedisMessage) error {
	if len(parts) != 5 {
		return corrupt("read", "counters")
	}
	text, err := parts[0].ToString()
	if err != nil {
		return corrupt("read", "number of the newest change")
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return corrupt("read", "number of the newest change")
	}
	s.seq += seq
	for i, into := range []func(t *tally) *uint64{
		func(t *tally) *uint64 { return &t.records },
		func(t *tally) *uint64 { return &t.low },
		func(t *tally) *uint64 { return &t.high },
		func(t *tally) *uint64 { return &t.incarnation },
	} {
		if err := s.addTo(&parts[1+i], into); err != nil {
			return err
		}
	}
	return nil
}

func (s *stats) addTo(m *rueidis.RedisMessage, into func(t *tally) *uint64) error {
	l, err := texts(m)
	if err != nil || len(l)%2 != 0 {
		return corrupt("read", "counters")
	}
	for i := 0; i < len(l); i += 2 {
		n, err := strconv.ParseUint(l[i+1], 10, 64)
		if err != nil {
			return corrupt("read", fmt.Sprintf("counter %.40q", l[i+1]))
		}
		t := s.workers[l[i]]
		if t == nil {
			t = &tally{}
			s.workers[l[i]] = t
		}
		*into(t) += n
	}
	return nil
}

// list returns the workers that were announced or have records.
func (s *stats) list() []index.Worker {
	var ws []index.Worker
	for name, t := range s.workers {
		if t.incarnation != 0 || t.records != 0 {
			ws = append(ws, index.Worker{Name: name, Incarnation: t.incarnation, Blocks: t.records})
		}
	}
	slices.SortFunc(ws, func(a, b index.Worker) int { return strings.Compare(a.Name, b.Name) })
	return ws
}

// Workers implements index.Announcer.
func (x *Index) Workers(ctx context.Context) ([]index.Worker, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	defer x.leave()
	s, err := x.stats(ctx, "workers")
	if err != nil {
		return nil, err
	}
	return s.list(), nil
}

// Metrics implements index.Keeper. The counts of events are of this Index alone,
// the resident records of all that share them; in a cluster it asks for the
// counters of every scope.
func (x *Index) Metrics(ctx context.Context) (index.Metrics, error) {
	if err := x.enter(ctx); err != nil {
		return index.Metrics{}, err
	}
	defer x.leave()
	s, err := x.stats(ctx, "metrics")
	if err != nil {
		return index.Metrics{}, err
	}
	m := index.Metrics{
		Puts: x.count.puts.Load(), Removes: x.count.removes.Load(), PrefixScans: x.count.scans.Load(),
		BytesWritten: x.written.Load(), Locates: x.count.locates.Load(), Matches: x.count.matches.Load(),
		Cleared: x.count.cleared.Load(), Expired: x.count.expired.Load(), Workers: uint64(len(s.list())), Seq: s.seq,
	}
	for _, t := range s.workers {
		m.ResidentBlocks += t.records
		m.ResidentBytes += t.low + t.high<<32
	}
	return m, nil
}

// Flush implements index.Keeper. What a server keeps beyond its own end is for
// its operator to say: with appendonly and appendfsync always every write is
// durable before it is answered, and Flush has nothing to do; nor has it where
// the server keeps no log. With another appendfsync nobody can wait for the log,
// which is ErrUnsupported.
func (x *Index) Flush(ctx context.Context) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.leave()
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	for address, node := range x.client.Nodes() {
		if err := x.flushNode(ctx, node); err != nil {
			return fmt.Errorf("%w (server %s)", err, address)
		}
	}
	return nil
}

func (x *Index) flushNode(ctx context.Context, node rueidis.Client) error {
	info, err := x.nodeText(ctx, func() rueidis.RedisResult { return node.Do(ctx, node.B().Info().Section("persistence").Build()) })
	if err != nil || !strings.Contains(info, "aof_enabled:1") {
		return err
	}
	fsync, err := node.Do(ctx, node.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
	if err != nil {
		_, err = x.judge("flush", false, err, new(bool))
		if !errors.Is(err, ErrDenied) {
			return err
		}
	}
	if fsync["appendfsync"] != "always" {
		return fmt.Errorf("index/redis: flush: the server writes its log with appendfsync %q, and nobody can wait for that: set it to always: %w",
			fsync["appendfsync"], kvferry.ErrUnsupported)
	}
	return nil
}

// nodeText is the text that one server answers.
func (x *Index) nodeText(ctx context.Context, ask func() rueidis.RedisResult) (string, error) {
	for attempt := 0; ; attempt++ {
		text, err := ask().ToString()
		if err == nil {
			return text, nil
		}
		wait, err := x.judge("flush", false, err, new(bool))
		if !wait || !pause(ctx, attempt) {
			return "", err
		}
	}
}
