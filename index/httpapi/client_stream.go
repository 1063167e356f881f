package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// counts are the numbers of an index, as appendMetrics writes them.
type counts struct {
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

// worker is one of the workers, as appendWorkers writes it.
type worker struct {
	Worker      string            `json:"worker_id"`
	Incarnation uint64            `json:"incarnation"`
	Stale       bool              `json:"stale"`
	Blocks      uint64            `json:"resident_blocks"`
	Base64      map[string][]byte `json:"base64"`
}

// wholeState is what a state tells besides records.
type wholeState struct {
	Index   counts
	Workers []worker
	Seq     uint64
}

// Metrics implements index.Keeper.
func (c *Client) Metrics(ctx context.Context) (index.Metrics, error) {
	st, err := c.state(ctx, true, nil)
	return index.Metrics(st.Index), err
}

// Workers implements index.Announcer.
func (c *Client) Workers(ctx context.Context) ([]index.Worker, error) {
	st, err := c.state(ctx, true, nil)
	var out []index.Worker
	for _, w := range st.Workers {
		out = append(out, index.Worker{Name: exact(w.Worker, w.Base64), Incarnation: w.Incarnation, Stale: w.Stale, Blocks: w.Blocks})
	}
	return out, err
}

// Snapshot implements index.Reader. Records are visited as they come in.
func (c *Client) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	st, err := c.state(ctx, false, visit)
	return st.Seq, err
}

// state reads GET /v1/state, with the records or without.
func (c *Client) state(ctx context.Context, without bool, visit func(r *index.Record) error) (st wholeState, err error) {
	q := url.Values{}
	if without {
		q.Set("residency", "false")
	}
	w, end, err := c.send(ctx, http.MethodGet, "v1/state", q, nil)
	if err != nil {
		return st, err
	}
	defer func() {
		end()
		_ = w.Body.Close() // all of it was read, or it is not wanted
	}()
	d := json.NewDecoder(bufio.NewReaderSize(w.Body, 1<<16))
	if err := eachMember(d, func(name string) error {
		switch name {
		case "index":
			return d.Decode(&st.Index)
		case "workers":
			return d.Decode(&st.Workers)
		case "seq":
			return d.Decode(&st.Seq)
		case "residency":
			return eachElement(d, func(doc []byte) error {
				r, err := index.ParseRecord(doc)
				if err != nil || visit == nil {
					return err
				}
				return visit(&r)
			})
		}
		var skipped json.RawMessage
		return d.Decode(&skipped)
	}); err != nil {
		return st, fmt.Errorf("httpapi: reading the state: %w", err)
	}
	return st, nil
}

var errShape = fmt.Errorf("the answer is no document of ours: %w", kvferry.ErrCorrupt)

// eachMember reads an object and calls f behind each key, to read the value.
func eachMember(d *json.Decoder, f func(name string) error) error {
	if err := delimiter(d, '{'); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errShape
		}
		if err := f(name); err != nil {
			return err
		}
	}
	return delimiter(d, '}')
}

func eachElement(d *json.Decoder, f func(doc []byte) error) error {
	if err := delimiter(d, '['); err != nil {
		return err
	}
	for d.More() {
		var doc json.RawMessage
		if err := d.Decode(&doc); err != nil {
			return err
		}
		if err := f(doc); err != nil {
			return err
		}
	}
	return delimiter(d, ']')
}

func delimiter(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = errShape
	}
	return err
}

// maxLineBytes bounds one change.
const maxLineBytes = 1 << 30

// Watch implements index.Watcher.
func (c *Client) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return func(yield func(*index.Change, error) bool) {
		w, end, err := c.send(ctx, http.MethodGet, "v1/watch", url.Values{"after": {strconv.FormatUint(after, 10)}}, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() {
			end()
			_ = w.Body.Close() // the server does not end it
		}()
		lines := bufio.NewScanner(w.Body)
		lines.Buffer(make([]byte, 1<<16), maxLineBytes)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 { // a heartbeat
				continue
			}
			change, err := parseChange(lines.Bytes())
			if !yield(change, err) || err != nil {
				return
			}
		}
		err = lines.Err()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case c.done.Err() != nil:
			err = kvferry.ErrClosed
		case err == nil:
			err = io.ErrUnexpectedEOF // the server ended
		}
		yield(nil, fmt.Errorf("httpapi: watching: %w", err))
	}
}

// parseChange reads what AppendChange wrote, or an error document.
func parseChange(line []byte) (*index.Change, error) {
	var d struct {
		Error       *json.RawMessage
		Seq         uint64
		Kind        string
		Records     []json.RawMessage
		Removals    []removal
		Worker      string `json:"worker_id"`
		Before      uint64 `json:"before_ms"`
		Incarnation uint64
		Gone        bool
		Base64      map[string][]byte
	}
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, fmt.Errorf("httpapi: reading a change: %w", errors.Join(err, errShape))
	}
	if d.Error != nil {
		return nil, fmt.Errorf("httpapi: watching: %w", told(http.StatusOK, line))
	}
	c := &index.Change{Seq: d.Seq, Worker: exact(d.Worker, d.Base64), Before: d.Before, Incarnation: d.Incarnation, Gone: d.Gone}
	for k := index.DidPut; k <= index.DidAnnounce; k++ {
		if k.String() == d.Kind {
			c.Kind = k
		}
	}
	if c.Kind == 0 {
		return nil, fmt.Errorf("httpapi: change %d of unknown kind %.100q: %w", d.Seq, d.Kind, kvferry.ErrUnsupported)
	}
	var err error
	if c.Records, err = parseRecords(d.Records, nil); err != nil {
		return nil, err
	}
	for i := range d.Removals {
		r, err := d.Removals[i].parse()
		if err != nil {
			return nil, err
		}
		c.Removals = append(c.Removals, r)
	}
	return c, nil
}

// removal is what appendRemoval writes.
type removal struct {
	Scope      json.RawMessage
	AnyAdapter bool   `json:"any_adapter"`
	Worker     string `json:"worker_id"`
	Hash       string `json:"block_hash"`
	Tier       string
	Group      *uint32 `json:"kv_group"`
	Base64     map[string][]byte
}

func (r *removal) parse() (out index.Removal, err error) {
	if out.Scope, err = index.ParseScope(r.Scope); err != nil {
		return out, fmt.Errorf("httpapi: reading a removal: %w", err)
	}
	if r.Tier != "" {
		if out.Tier, err = index.ParseVariant(r.Tier); err != nil {
			return out, fmt.Errorf("httpapi: reading a removal: %w", errors.Join(err, kvferry.ErrCorrupt))
		}
	}
	out.AnyAdapter, out.Worker, out.Hash = r.AnyAdapter, exact(r.Worker, r.Base64), r.Hash
	if b, ok := r.Base64["block_hash"]; ok {
		out.Hash = string(b)
	}
	if r.Group != nil {
		out.OneGroup, out.Group = true, *r.Group
	}
	return out, nil
}
