package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

var _ pipelinecache.Store = (*Client)(nil)

// maxRedirects is how many redirects of one request are followed.
const maxRedirects = 5

// Client asks a server for artifacts.
type Client struct {
	base     string // as it was given
	prefix   string // of the address of an artifact
	http     *http.Client
	opt      Options
	closed   atomic.Bool
	count    counters
	rejected atomic.Uint64
	flushes  atomic.Uint64
}

// NewClient returns a client of the server at base: "https://HOST/PATH".
func NewClient(base string, o Options) (*Client, error) {
	o.EnsureDefaults()
	if err := errors.Join(o.Validate(), checkBase(base)); err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSHandshakeTimeout:    o.DialTimeout,
		TLSClientConfig:        o.TLS.Clone(),
		ResponseHeaderTimeout:  o.HeaderTimeout,
		MaxConnsPerHost:        o.MaxConnections,
		MaxIdleConnsPerHost:    o.MaxConnections,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	return &Client{
		base: base, prefix: strings.TrimRight(base, "/") + "/", opt: o,
		http: &http.Client{Transport: t, CheckRedirect: sameHost},
	}, nil
}

func checkBase(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return fmt.Errorf("remote: the address: %w: %w", kvferry.ErrInvalid, err)
	case u.User != nil:
		return fmt.Errorf("remote: the address %.200q: take the user out of it, it is in every error: %w", u.Redacted(), kvferry.ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("remote: the address %.200q: begin it with https:// or http://: %w", base, kvferry.ErrInvalid)
	case u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("remote: the address %.200q: want a host and a path, without a query or fragment: %w", base, kvferry.ErrInvalid)
	}
	return nil
}

// sameHost lets a redirect to anywhere else be the answer itself, which is then
// a StatusError: another host has not been asked whom it may serve.
func sameHost(to *http.Request, via []*http.Request) error {
	from := via[0].URL
	if len(via) > maxRedirects || to.URL.Scheme != from.Scheme || to.URL.Host != from.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// Base returns the address as it was given.
func (c *Client) Base() string { return c.base }

// Get asks for an artifact. What the server does not have is ErrNotFound. An
// answer that cannot be used is a *HeaderError, or ErrCorrupt or ErrUnsupported
// if it is its frame; any other one is a *StatusError, and none a
// *TransportError, unless ctx ended.
func (c *Client) Get(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	artifact, err := c.fetch(ctx, f)
	c.count.note(err)
	if err != nil {
		return nil, fmt.Errorf("remote: get %v from %s: %w", f, c.base, err)
	}
	return artifact, nil
}

// GetShared is Get: no bytes stay in memory.
func (c *Client) GetShared(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	return c.Get(ctx, f)
}

func (c *Client) fetch(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.closed.Load() {
		return nil, kvferry.ErrClosed
	}
	within, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(within, http.MethodGet, c.prefix+f.String()+".bin", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "kvferry")
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, transport(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }() // nothing depends on it
	return c.read(ctx, f, answer)
}

// Put is ErrReadOnly.
func (c *Client) Put(ctx context.Context, f pipelinecache.Fingerprint, _ []byte) error {
	c.rejected.Add(1)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remote: put %v: %w", f, err)
	}
	return fmt.Errorf("remote: put %v: a server is only read: %w", f, kvferry.ErrReadOnly)
}

// PutShared is ErrReadOnly.
func (c *Client) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return c.Put(ctx, f, artifact)
}

// Flush has nothing to do.
func (c *Client) Flush(ctx context.Context) error {
	c.flushes.Add(1)
	if err := ctx.Err(); err != nil {
		c.count.flushErrors.Add(1)
		return fmt.Errorf("remote: flush: %w", err)
	}
	return nil
}

// Metrics returns the counts of this client. What the server holds it does not
// know. Why misses were misses is in Failures.
func (c *Client) Metrics() pipelinecache.Metrics {
	hits, misses := c.count.hits.Load(), c.count.misses.Load()
	return pipelinecache.Metrics{
		Lookups: hits + misses, Hits: hits, Misses: misses, RejectedPuts: c.rejected.Load(),
		Flushes: c.flushes.Load(), FlushErrors: c.count.flushErrors.Load(),
	}
}

// Close gives the connections back that wait for the next request. Afterwards
// Get is ErrClosed; one that runs ends as it would.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return fmt.Errorf("remote: close: %w", kvferry.ErrClosed)
	}
	c.http.CloseIdleConnections()
	return nil
}
