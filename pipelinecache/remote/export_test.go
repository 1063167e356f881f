package remote

import (
	"context"
	"net/http"

	"github.com/kvferry/kvferry/pipelinecache"
)

// Read is what a client makes of an answer.
func (c *Client) Read(ctx context.Context, f pipelinecache.Fingerprint, answer *http.Response) ([]byte, error) {
	return c.read(ctx, f, answer)
}

// ReadFrame is how a client reads a body.
var ReadFrame = readFrame
