package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// ClientOptions are those of a client. The zero ones work.
type ClientOptions struct {
	Token string // what the server wants to see
	// HTTP sends the requests; nil: a client of its own, which knows no proxy.
	HTTP *http.Client
	// Timeout bounds how long an answer takes to begin, 30 s.
	Timeout time.Duration
}

// Client reads an index that a Handler serves somewhere else. It is an index.Index
// whose writers are ErrUnsupported: a server takes events, not records.
type Client struct {
	base string
	opt  ClientOptions
	http *http.Client
	done context.Context // ends with Close
	end  context.CancelFunc
	info index.Info
}

var _ index.Index = (*Client)(nil)

// maxAnswerBytes bounds an answer that is held: all but state and changes.
const maxAnswerBytes = 256 << 20

// NewClient returns a client of the server at a URL, as http://host:port, and asks
// it what its index is.
func NewClient(ctx context.Context, base string, o ClientOptions) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("httpapi: %.100q is no URL of a server, as http://host:port: %w", base, kvferry.ErrInvalid)
	}
	c := &Client{base: u.JoinPath("/").String(), opt: o, http: o.HTTP}
	if c.http == nil {
		c.http = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: o.Timeout, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}}
	}
	c.done, c.end = context.WithCancel(context.WithoutCancel(ctx))
	var h struct {
		Backend, Rules     string
		Persistent, Shared bool
	}
	if err := c.read(ctx, "healthz", nil, &h); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.info = index.Info{Name: h.Backend, Persistent: h.Persistent, Shared: true}
	for _, r := range []index.Rules{index.AsMemory, index.AsHolt} {
		if r.String() == h.Rules {
			c.info.Rules = r
		}
	}
	return c, nil
}

// send asks, and returns an answer that is no error. Its body and cancel are the
// caller's to close and call.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, body []byte) (*http.Response, context.CancelFunc, error) {
	if c.done.Err() != nil {
		return nil, nil, fmt.Errorf("httpapi: %s: %w", path, kvferry.ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.done, cancel)
	end := func() { stop(); cancel() }
	at := c.base + path
	if len(q) > 0 {
		at += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("httpapi: %s: %w", path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.opt.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.opt.Token)
	}
	w, err := c.http.Do(r)
	if err == nil && w.StatusCode != http.StatusOK {
		err = errors.Join(refused(w), w.Body.Close())
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("httpapi: %s: %w", path, err)
	}
	return w, end, nil
}

// refused returns the error that a server told.
func refused(w *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(w.Body, 1<<16))
	if err != nil {
		return err
	}
	return told(w.StatusCode, text)
}

// told makes an error of an error document.
func told(status int, text []byte) error {
	var d document
	if err := json.Unmarshal(text, &d); err != nil || d.Error.Type == "" {
		return fmt.Errorf("the server answers %d: %.200q", status, text)
	}
	for _, o := range outcomes {
		if o.kind == d.Error.Type {
			return fmt.Errorf("%w: the server says: %s", o.is, d.Error.Message)
		}
	}
	return fmt.Errorf("the server says: %s (%s)", d.Error.Message, d.Error.Type)
}

// ask sends a request and reads the JSON document that is the answer.
func (c *Client) ask(ctx context.Context, method, path string, q url.Values, body []byte, into any) error {
	w, end, err := c.send(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer end()
	text, err := io.ReadAll(io.LimitReader(w.Body, maxAnswerBytes))
	if err := errors.Join(err, w.Body.Close()); err != nil {
		return fmt.Errorf("httpapi: %s: %w", path, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("httpapi: %s: the answer is no document of ours: %w: %w", path, err, kvferry.ErrCorrupt)
	}
	return nil
}

func (c *Client) read(ctx context.Context, path string, q url.Values, into any) error {
	return c.ask(ctx, http.MethodGet, path, q, nil, into)
}

func scopeValues(s *index.Scope) url.Values {
	q := url.Values{"model_id": {s.Model}, "tokenizer_id": {s.Tokenizer}, "tenant_id": {s.Tenant}}
	if name, named := s.Adapter.Name(); named {
		q.Set("adapter_id", name)
	}
	return q
}

func (c *Client) records(ctx context.Context, path string, q url.Values, dst []index.Record) ([]index.Record, error) {
	var d struct{ Records []json.RawMessage }
	if err := c.read(ctx, path, q, &d); err != nil {
		return dst, err
	}
	return parseRecords(d.Records, dst)
}

func parseRecords(docs []json.RawMessage, dst []index.Record) ([]index.Record, error) {
	for _, doc := range docs {
		r, err := index.ParseRecord(doc)
		if err != nil {
			return dst, fmt.Errorf("httpapi: reading a record: %w", err)
		}
		dst = append(dst, r)
	}
	return dst, nil
}

// Locate implements index.Reader.
func (c *Client) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	q := scopeValues(&k.Scope)
	q.Set("prefix_hash", k.Prefix)
	q.Set("block_hash", k.Hash)
	q.Set("block_index", strconv.FormatUint(uint64(k.Index), 10))
	q.Set("kv_group", strconv.FormatUint(uint64(k.Group), 10))
	q.Set("token_count", strconv.FormatUint(uint64(k.Tokens), 10))
	return c.records(ctx, "v1/locate", q, dst)
}

// Scan implements index.Reader.
func (c *Client) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	q := scopeValues(s)
	q.Set("prefix_hash", prefix)
	return c.records(ctx, "v1/scan", q, dst)
}

// ByHash is ErrUnsupported: no route looks into all scopes at once.
func (c *Client) ByHash(_ context.Context, _ string, dst []index.Record) ([]index.Record, error) {
	return dst, errWriter
}

// Match implements index.Reader. What is not UTF-8 cannot be asked for.
func (c *Client) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	body, err := matchDocument(q)
	if err != nil {
		return dst, err
	}
	var d struct {
		Matches []struct {
			Worker string `json:"worker_id"`
			Blocks int
			Tiers  map[string]int
			Base64 map[string][]byte
		}
	}
	if err := c.ask(ctx, http.MethodPost, "v1/match", nil, body, &d); err != nil {
		return dst, err
	}
	for _, m := range d.Matches {
		out := index.Match{Worker: exact(m.Worker, m.Base64), Blocks: m.Blocks}
		for name, n := range m.Tiers {
			t, err := index.ParseTier(name)
			if err != nil {
				return dst, fmt.Errorf("httpapi: match: %w", errors.Join(err, kvferry.ErrCorrupt))
			}
			out.InTier[t] = n
		}
		dst = append(dst, out)
	}
	return dst, nil
}

func matchDocument(q *index.Query) ([]byte, error) {
	name, named := q.Adapter.Name()
	adapter := &name
	if !named {
		adapter = nil
	}
	for _, texts := range [][]string{{q.Model, q.Tokenizer, name, q.Tenant}, q.Hashes, q.Workers} {
		for _, s := range texts {
			if !utf8.ValidString(s) { // it would become another text in silence
				return nil, fmt.Errorf("httpapi: match of %.100q, which is not UTF-8: %w", s, kvferry.ErrUnsupported)
			}
		}
	}
	doc := map[string]any{
		"scope":  map[string]any{"model_id": q.Model, "tokenizer_id": q.Tokenizer, "adapter_id": adapter, "tenant_id": q.Tenant},
		"hashes": append([]string{}, q.Hashes...), "kv_group": q.Group,
	}
	if q.Workers != nil {
		doc["workers"] = q.Workers
	}
	return json.Marshal(doc)
}

// exact returns the bytes of a worker's name.
func exact(text string, base64 map[string][]byte) string {
	if b, ok := base64["worker_id"]; ok {
		return string(b)
	}
	return text
}

// Info says what the server's index is; to clients all are shared.
func (c *Client) Info() index.Info { return c.info }

// Flush does nothing: the server flushes.
func (c *Client) Flush(context.Context) error { return nil }

// Close ends what goes on. The server's index stays open.
func (c *Client) Close() error {
	c.end()
	c.http.CloseIdleConnections()
	return nil
}

var errWriter = fmt.Errorf("httpapi: a server takes events of engines and answers for one scope at a time: %w", kvferry.ErrUnsupported)

// Put is ErrUnsupported.
func (c *Client) Put(context.Context, []index.Record) error { return errWriter }

// Remove is ErrUnsupported.
func (c *Client) Remove(context.Context, []index.Removal) (int, error) { return 0, errWriter }

// ClearWorker is ErrUnsupported.
func (c *Client) ClearWorker(context.Context, string) (int, error) { return 0, errWriter }

// Clear is ErrUnsupported.
func (c *Client) Clear(context.Context) error { return errWriter }

// Expire is ErrUnsupported.
func (c *Client) Expire(context.Context, uint64) (int, error) { return 0, errWriter }

// Announce is ErrUnsupported.
func (c *Client) Announce(context.Context, string, uint64) error { return errWriter }
