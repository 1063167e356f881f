package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

const (
	// firstBytes is how much is allocated before anything has arrived.
	firstBytes = 64 << 10
	// drainBytes is how much of an answer without use is read, so that its
	// connection can be used again.
	drainBytes = 64 << 10
	// drainTime is how long that may take: nobody waits for what has no use.
	drainTime = 100 * time.Millisecond
)

// read returns the artifact in an answer.
func (c *Client) read(ctx context.Context, f pipelinecache.Fingerprint, answer *http.Response) ([]byte, error) {
	if err := c.accept(f, answer); err != nil {
		drain(answer.Body)
		return nil, err
	}
	frame, err := readFrame(answer.Body, answer.ContentLength)
	if errors.Is(err, kvferry.ErrCorrupt) {
		return nil, err
	}
	if err != nil {
		return nil, transport(ctx, err)
	}
	return pipelinecache.ParseFrame(frame)
}

// drain reads what is left of an answer without use, as a favour to the next
// request. A body that does not come is closed, and its connection with it.
func drain(body io.ReadCloser) {
	late := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, drainBytes)
}

// accept tells from its head whether an answer is an artifact.
func (c *Client) accept(f pipelinecache.Fingerprint, answer *http.Response) error {
	switch {
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("the server has none: %w", kvferry.ErrNotFound)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return &StatusError{Code: answer.StatusCode}
	}
	return c.opt.Required.check(answer.Header, f)
}

// readFrame reads to the end. The buffer doubles as bytes arrive, up to the
// length that was announced (-1 if none was), and no further than a frame can
// be: one byte more is ErrCorrupt.
func readFrame(body io.Reader, announced int64) ([]byte, error) {
	const most = int64(pipelinecache.MaxFrameBytes)
	if announced > most {
		return nil, fmt.Errorf("%d bytes are announced, a frame has %d at most: %w", announced, most, kvferry.ErrCorrupt)
	}
	limit := most + 1
	if announced >= 0 {
		limit = announced + 1 // one more shows the end
	}
	buf := make([]byte, 0, min(limit, firstBytes))
	for {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > most:
			return nil, fmt.Errorf("more than %d bytes, the longest frame: %w", most, kvferry.ErrCorrupt)
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) == cap(buf):
			buf = slices.Grow(buf, int(min(int64(len(buf)), max(limit-int64(len(buf)), 1))))
		}
	}
}
