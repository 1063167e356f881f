package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/index"
)

// match answers POST /v1/match.
func (h *Handler) match(w http.ResponseWriter, r *http.Request) error {
	doc, err := body(r, h.opt.MaxQueryBytes)
	if err != nil {
		return err
	}
	q, err := parseQuestion(doc)
	if err != nil {
		return refuseDocument(doc, err)
	}
	if q.named&memberTokens != 0 {
		if q.Hashes, err = q.prompt.Hashes(); err != nil {
			return err
		}
	}
	found, err := h.x.Match(r.Context(), &q.Query, nil)
	if err != nil {
		return err
	}
	return reply(w, append(AppendMatches(nil, len(q.Hashes), found), '\n'))
}

// AppendMatches appends the answer to a question of so many blocks as one JSON
// object.
func AppendMatches(b []byte, blocks int, ms []index.Match) []byte {
	b = append(b, `{"blocks":`...)
	b = strconv.AppendInt(b, int64(blocks), 10)
	b = append(b, `,"matches":[`...)
	for i := range ms {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMatch(b, &ms[i])
	}
	return append(b, "]}"...)
}

func appendMatch(b []byte, m *index.Match) []byte {
	worker := text{"worker_id", m.Worker}
	b = appendText(append(b, '{'), worker)
	b = append(b, `,"blocks":`...)
	b = strconv.AppendInt(b, int64(m.Blocks), 10)
	b = append(b, `,"tiers":{`...)
	some := false
	for t, n := range m.InTier {
		if n == 0 {
			continue
		}
		if some {
			b = append(b, ',')
		}
		some = true
		b = append(b, '"')
		b = append(b, index.Tier(t).String()...)
		b = append(b, `":`...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(appendBase64(append(b, '}'), worker), '}')
}

// maxGrownBytes is how much room is made for a body that only says how long it is.
const maxGrownBytes = 1 << 20

// body reads a document that is called JSON.
func body(r *http.Request, limit int64) ([]byte, error) {
	if !calledJSON(r.Header.Get("Content-Type")) {
		return nil, refusal(http.StatusUnsupportedMediaType, "unsupported", "Expected request with `Content-Type: application/json`")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var doc bytes.Buffer
	doc.Grow(int(max(min(r.ContentLength, maxGrownBytes), 0)) + bytes.MinRead)
	_, err := doc.ReadFrom(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, refusal(http.StatusBadRequest, "invalid", "the body could not be read: %v", err)
	}
	return doc.Bytes(), nil
}

func tooLarge(limit int64) error {
	return refusal(http.StatusRequestEntityTooLarge, "invalid", "the body is longer than %d bytes; send it in parts", limit)
}

func calledJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
}

// refuseDocument tells JSON of another shape from what is no JSON.
func refuseDocument(doc []byte, err error) error {
	if !utf8.Valid(doc) || !json.Valid(doc) {
		return refusal(http.StatusBadRequest, "invalid", "no JSON: %v", err)
	}
	return refusal(http.StatusUnprocessableEntity, "invalid", "JSON of another shape: %v", err)
}

// question is the document of POST /v1/match.
type question struct {
	index.Query

	prompt Prompt
	named  uint16 // which members were there
}

// The members of a question.
const (
	memberScope uint16 = 1 << iota
	memberHashes
	memberTokens
	memberBlockSize
	memberAlgorithm
	memberHashForm
	memberSeed
	memberGroup
	memberWorkers
)

func memberOf(key []byte) uint16 {
	switch string(key) {
	case "scope":
		return memberScope
	case "hashes":
		return memberHashes
	case "token_ids":
		return memberTokens
	case "block_size":
		return memberBlockSize
	case "algorithm":
		return memberAlgorithm
	case "hash_form":
		return memberHashForm
	case "seed":
		return memberSeed
	case "kv_group":
		return memberGroup
	case "workers":
		return memberWorkers
	}
	return 0
}

func parseQuestion(doc []byte) (*question, error) {
	q, r := &question{}, strictjson.NewReader(doc)
	err := r.Object(func(key []byte) error {
		m := memberOf(key)
		if m == 0 || q.named&m != 0 {
			return r.Errorf("unknown or repeated member %.100q", key)
		}
		q.named |= m
		return q.read(r, m)
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	const asTokens, more = memberTokens | memberBlockSize | memberAlgorithm, memberHashForm | memberSeed
	switch named := q.named & (memberHashes | asTokens | more); {
	case q.named&memberScope == 0:
		return nil, r.Errorf("the scope is missing")
	case named != memberHashes && named&^more != asTokens:
		return nil, r.Errorf("want hashes, or token_ids with block_size and algorithm")
	}
	return q, nil
}

func (q *question) read(r *strictjson.Reader, m uint16) (err error) {
	switch m {
	case memberScope:
		q.Scope, err = readScope(r)
	case memberHashes:
		q.Hashes, err = readTexts(r)
	case memberTokens:
		q.prompt.Tokens = []uint32{}
		err = r.Array(func() error {
			n, err := r.Uint32()
			q.prompt.Tokens = append(q.prompt.Tokens, n)
			return err
		})
	case memberBlockSize:
		q.prompt.BlockSize, err = r.Uint32()
	case memberAlgorithm:
		q.prompt.Algorithm, err = r.String()
	case memberHashForm:
		q.prompt.HashForm, err = r.String()
	case memberSeed:
		q.prompt.Seed, err = r.String()
	case memberGroup:
		q.Group, err = r.Uint32()
	case memberWorkers:
		q.Workers, err = readTexts(r)
	}
	return err
}

// readTexts returns a list that is not nil. Its texts are parts of one string: a
// prompt has thousands.
func readTexts(r *strictjson.Reader) ([]string, error) {
	all, ends := make([]byte, 0, r.Rest()), []int{}
	err := r.Array(func() error {
		s, err := r.Text()
		all = append(all, s...)
		ends = append(ends, len(all))
		return err
	})
	one, out, from := string(all), make([]string, len(ends)), 0
	for i, end := range ends {
		out[i], from = one[from:end], end
	}
	return out, err
}

// readScope reads a scope of which nothing but the adapter may be missing.
func readScope(r *strictjson.Reader) (s index.Scope, err error) {
	seen := map[string]bool{}
	err = r.Object(func(key []byte) (err error) {
		name := string(key)
		if seen[name] {
			return r.Errorf("repeated member %.100q of the scope", name)
		}
		seen[name] = true
		switch name {
		case "model_id":
			s.Model, err = r.String()
		case "tokenizer_id":
			s.Tokenizer, err = r.String()
		case "tenant_id":
			s.Tenant, err = r.String()
		case "adapter_id":
			s.Adapter, err = readAdapter(r)
		default:
			err = r.Errorf("unknown member %.100q of the scope", name)
		}
		return err
	})
	if err == nil && (!seen["model_id"] || !seen["tokenizer_id"] || !seen["tenant_id"]) {
		err = r.Errorf("a scope needs model_id, tokenizer_id and tenant_id")
	}
	return s, err
}

func readAdapter(r *strictjson.Reader) (index.Adapter, error) {
	if r.Peek() == 'n' && r.Literal("null") {
		return index.Adapter{}, nil
	}
	s, err := r.String()
	return index.Named(s), err
}
