package demo

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kvferry/kvferry/examples/llama/engine"
)

// The kinds of events, and what a parent asks for.
const (
	kindReady    = "ready"
	kindRestored = "restored"
	kindStep     = "step"
	kindCaptured = "captured"
	kindFailed   = "failed"

	askStep    = "s"
	askCapture = "c"
)

// event is one line from a child to its parent.
type event struct {
	Kind     string         `json:"kind"`
	Tokens   []engine.Token `json:"tokens,omitempty"` // of a step
	Idle     bool           `json:"idle,omitempty"`   // a step had nothing to do
	Captured *captured      `json:"captured,omitempty"`
	Restored *restored      `json:"restored,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// captured says what a capture took. Times are seconds.
type captured struct {
	Digest                       string
	Pages, Sequences             int
	Bytes, NewBytes, StoredBytes int64
	Pause, Copy, Elapsed         float64
	States                       []engine.State // as saved beside the snapshot
}

// restored says what a restore put back.
type restored struct {
	Pages, Sequences int
	Bytes            int64
	Elapsed          float64 // seconds
}

// printable keeps what can be shown on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '·'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, s)
}
