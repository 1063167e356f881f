package indextest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// player replays one trace.
type player struct {
	t       *testing.T
	config  Config
	options index.Options
	header  *header
	index   index.Index
	earlier index.Metrics // counted before the latest reopening
	rs      []index.Record
}

// play makes the operation of a line and compares its result.
func (p *player) play(l *line) error {
	ctx := p.t.Context()
	switch l.Op {
	case "put":
		r, err := index.ParseRecord(l.R)
		if err != nil {
			return err
		}
		return p.index.Put(ctx, []index.Record{r})
	case "remove_block":
		s, err := index.ParseScope(l.Scope)
		if err != nil {
			return err
		}
		n, err := p.index.Remove(ctx, []index.Removal{{Scope: s, Worker: l.Worker, Hash: l.Hash}})
		return firstError(err, sameCount("removed", n, l.N))
	case "clear_worker":
		_, err := p.index.ClearWorker(ctx, l.Worker)
		return err
	case "clear":
		return p.index.Clear(ctx)
	case "flush":
		return p.index.Flush(ctx)
	case "reopen":
		return p.reopen()
	case "ingest":
		return p.ingest(l)
	}
	return p.read(l)
}

func (p *player) read(l *line) error {
	switch l.Op {
	case "locate", "prefix_scan", "by_content_hash", "snapshot":
		return p.records(l)
	case "len", "metrics":
		return p.metrics(l)
	case "reuse_violation":
		return violation(l)
	case "audit_reuse":
		return p.audit(l)
	}
	return fmt.Errorf("line %d: unknown operation %q", l.I, l.Op)
}

// reopen opens the index again if it can be and nothing gets stale by that.
func (p *player) reopen() error {
	if p.config.Reopen == nil || p.options.Rules.Stale() {
		return nil
	}
	m, err := p.index.Metrics(p.t.Context())
	if err != nil {
		return err
	}
	p.earlier.Puts += m.Puts
	p.earlier.Removes += m.Removes
	p.index = p.config.Reopen(p.t, p.index, p.options)
	return nil
}

func (p *player) records(l *line) error {
	ctx := p.t.Context()
	var err error
	p.rs = p.rs[:0]
	switch l.Op {
	case "locate":
		var k index.Key
		if k, err = index.ParseKey(l.Key); err == nil {
			p.rs, err = p.index.Locate(ctx, &k, p.rs)
		}
	case "prefix_scan":
		var s index.Scope
		if s, err = index.ParseScope(l.Scope); err == nil {
			p.rs, err = p.index.Scan(ctx, &s, l.Prefix, p.rs)
		}
	case "by_content_hash":
		p.rs, err = p.index.ByHash(ctx, l.Hash, p.rs)
	case "snapshot":
		p.rs, err = snapshot(ctx, p.index)
	}
	if err != nil {
		return err
	}
	list, lines := []byte{'['}, []byte(nil)
	for i := range p.rs {
		if i > 0 {
			list = append(list, ',')
		}
		list = p.rs[i].AppendJSON(list)
		lines = append(p.rs[i].AppendJSON(lines), '\n')
	}
	if list = append(list, ']'); l.Res != nil && !bytes.Equal(list, l.Res) {
		return fmt.Errorf("the records are\n%.2000s\ninstead of\n%.2000s", list, l.Res)
	}
	if l.Res == nil && l.N == nil {
		return errors.New("the line has no result")
	}
	if l.N != nil {
		sum := sha256.Sum256(lines)
		if err := sameCount("found", len(p.rs), l.N); err != nil || hex.EncodeToString(sum[:]) != l.SHA256 {
			return fmt.Errorf("%w, or they are not those of the original:\n%.2000s", err, lines)
		}
	}
	return nil
}

func (p *player) metrics(l *line) error {
	m, err := p.index.Metrics(p.t.Context())
	if err != nil {
		return err
	}
	if l.Op == "len" {
		if l.Empty == nil || *l.Empty != (m.ResidentBlocks == 0) {
			return fmt.Errorf("empty is not what the original said: %d records", m.ResidentBlocks)
		}
		return sameCount("resident", int(m.ResidentBlocks), l.N)
	}
	var want struct {
		ResidentBlocks *uint64 `json:"resident_blocks"`
		ResidentBytes  *uint64 `json:"resident_bytes"`
		Puts, Removes  *uint64
	}
	if err := json.Unmarshal(l.M, &want); err != nil {
		return err
	}
	if want.ResidentBlocks == nil || want.ResidentBytes == nil || want.Puts == nil || want.Removes == nil {
		return errors.New("the line has no result")
	}
	same := *want.ResidentBlocks == m.ResidentBlocks && *want.ResidentBytes == m.ResidentBytes
	if p.header.Backend == "memory" { // the others did not count
		same = same && *want.Puts == m.Puts+p.earlier.Puts && *want.Removes == m.Removes+p.earlier.Removes
	}
	if !same || m.StaleBlocks != 0 {
		return fmt.Errorf("the metrics are %+v behind %+v", m, p.earlier)
	}
	return nil
}

func violation(l *line) error {
	s, err := index.ParseScope(l.Scope)
	if err != nil {
		return err
	}
	k, err := index.ParseKey(l.Key)
	if err != nil {
		return err
	}
	if got := s.Violation(&k.Scope).String(); got != l.V {
		return fmt.Errorf("the violation is %q", got)
	}
	return nil
}

func (p *player) audit(l *line) error {
	s, err := index.ParseScope(l.Scope)
	if err != nil {
		return err
	}
	got, err := index.AuditReuse(p.t.Context(), p.index, &s, l.Hashes)
	if err != nil {
		return err
	}
	kinds := map[string]int{
		"model": got.Kinds[index.CrossModel], "tokenizer": got.Kinds[index.CrossTokenizer],
		"adapter": got.Kinds[index.CrossAdapter], "tenant": got.Kinds[index.CrossTenant],
	}
	for kind, n := range l.Kinds {
		if kinds[kind] != n {
			return fmt.Errorf("the audit is %+v", got)
		}
	}
	return firstError(sameCount("safe", got.Safe, l.Safe), sameCount("refused", got.Refused, l.Refused))
}

func (p *player) ingest(l *line) error {
	b, err := events.ParseJSON(l.Batch)
	if err != nil {
		return err
	}
	got, err := events.IngestAsOriginal(p.t.Context(), p.index, b, p.header.Engines)
	if l.Err != "" {
		if !errors.Is(err, kvferry.ErrNotFound) {
			return fmt.Errorf("the error is %w", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(got)
	if err == nil && !bytes.Equal(data, l.Summary) {
		err = fmt.Errorf("the summary is %s", data)
	}
	return err
}

func sameCount(what string, got int, want *int) error {
	if want == nil || got != *want {
		return fmt.Errorf("%d records %s", got, what)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
