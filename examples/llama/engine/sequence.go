package engine

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/examples/llama/model"
	"github.com/kvferry/kvferry/pager"
)

// Request asks for a continuation of a prompt.
type Request struct {
	ID          string  // name of the sequence; unique among the live ones
	Prompt      []int32 // at least one token
	MaxTokens   int     // tokens to generate; at least 1
	Temperature float64 // 0 for the best token always
	TopP        float64 // 0 or 1 for all tokens
	Seed        uint64  // of the random numbers
	Stop        []int32 // tokens that end the sequence
}

// State is what beside its pages makes a sequence go on: plain data, to be kept
// together with a snapshot.
type State struct {
	ID          string  `json:"id"`
	Tokens      []int32 `json:"tokens"` // prompt and generated
	Prompt      int     `json:"prompt"` // how many of them are the prompt
	Written     int     `json:"written"`
	MaxTokens   int     `json:"max_tokens"`
	Temperature float64 `json:"temperature,omitempty"`
	TopP        float64 `json:"top_p,omitempty"`
	Stop        []int32 `json:"stop,omitempty"`
	Random      uint64  `json:"random,string"` // state of the random numbers
	Done        bool    `json:"done,omitempty"`
}

// Generated returns the tokens behind the prompt.
func (s State) Generated() []int32 { return s.Tokens[s.Prompt:] }

func (s State) clone() State {
	s.Tokens, s.Stop = slices.Clone(s.Tokens), slices.Clone(s.Stop)
	return s
}

// limit returns the most tokens that the sequence may come to have.
func (s State) limit(c model.Config) int { return min(s.Prompt+min(s.MaxTokens, c.SeqLen), c.SeqLen) }

// check returns ErrInvalid unless s can be the state of a sequence of c.
func (s State) check(c model.Config) error {
	n := len(s.Tokens)
	switch {
	case s.Prompt < 1 || s.Prompt > n || s.Prompt >= c.SeqLen:
		return fmt.Errorf("engine: sequence %q: prompt of %d tokens of %d, the model holds %d: %w", s.ID, s.Prompt, n, c.SeqLen, kvferry.ErrInvalid)
	case s.MaxTokens < 1 || n > s.limit(c):
		return fmt.Errorf("engine: sequence %q: %d tokens, limit %d: %w", s.ID, n, s.limit(c), kvferry.ErrInvalid)
	case s.Written < 0 || s.Written >= n || n > s.Prompt && s.Written != n-1:
		return fmt.Errorf("engine: sequence %q: %d of %d tokens are in the cache: %w", s.ID, s.Written, n, kvferry.ErrInvalid)
	case !(s.Temperature >= 0 && s.Temperature <= maxTemperature && s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("engine: sequence %q: temperature %v, top-p %v: %w", s.ID, s.Temperature, s.TopP, kvferry.ErrInvalid)
	case !s.Done && n >= s.limit(c):
		return fmt.Errorf("engine: sequence %q is not done at its limit of %d: %w", s.ID, n, kvferry.ErrInvalid)
	}
	for _, t := range s.Tokens {
		if t < 0 || int(t) >= c.Vocab {
			return fmt.Errorf("engine: sequence %q: token %d of a vocabulary of %d: %w", s.ID, t, c.Vocab, kvferry.ErrInvalid)
		}
	}
	return nil
}

// maxTemperature keeps the weights of tokens apart from zero and infinity.
const maxTemperature = 1000

// Phase is where a sequence is in its life.
type Phase string

// The phases of a sequence.
const (
	Waiting Phase = "waiting" // for pages or its turn
	Prefill Phase = "prefill" // reading its prompt
	Decode  Phase = "decode"  // generating
	Done    Phase = "done"    // finished; it keeps its pages until Remove
	Parked  Phase = "parked"  // installed, waiting for its State
)

// Sequence describes a live sequence.
type Sequence struct {
	State
	Phase Phase
	Pages []pager.PageID // that hold its written tokens
}

// sequence is a live sequence. A parked one has no state but ID and Written.
type sequence struct {
	State
	pages    []uint32
	admitted bool
	parked   bool
	logits   []float32
}

func (s *sequence) phase() Phase {
	switch {
	case s.parked:
		return Parked
	case s.Done:
		return Done
	case !s.admitted:
		return Waiting
	case s.Written < s.Prompt:
		return Prefill
	}
	return Decode
}

// logical returns s as kvferry sees it.
func (s *sequence) logical(pageTokens int) pager.LogicalSeq {
	n := (s.Written + pageTokens - 1) / pageTokens
	l := pager.LogicalSeq{ID: s.ID, FillInLastPage: uint32(s.Written % pageTokens)}
	for _, p := range s.pages[:n] {
		l.Pages = append(l.Pages, pager.PageID(p))
	}
	return l
}
