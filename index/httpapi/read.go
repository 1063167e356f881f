package httpapi

import (
	"net/http"

	"github.com/kvferry/kvferry/index"
)

// locate answers GET /v1/locate.
func (h *Handler) locate(w http.ResponseWriter, r *http.Request) error {
	p, err := parametersOf(r, "prefix_hash", "block_hash", "block_index", "kv_group", "token_count")
	if err != nil {
		return err
	}
	k, err := p.key()
	if err != nil {
		return err
	}
	found, err := h.x.Locate(r.Context(), &k, nil)
	if err != nil {
		return err
	}
	return replyRecords(w, found)
}

// key returns the block that a question names.
func (p parameters) key() (k index.Key, err error) {
	if k.Scope, err = p.scope(); err != nil {
		return k, err
	}
	if k.Prefix, err = p.text("prefix_hash"); err != nil {
		return k, err
	}
	if k.Hash, err = p.text("block_hash"); err != nil {
		return k, err
	}
	position, err := p.number("block_index", 32)
	if err != nil {
		return k, err
	}
	group, err := p.optional("kv_group", 32)
	if err != nil {
		return k, err
	}
	tokens, err := p.optional("token_count", 32)
	k.Index, k.Group, k.Tokens = uint32(position), uint32(group), uint32(tokens)
	return k, err
}

// scan answers GET /v1/scan.
func (h *Handler) scan(w http.ResponseWriter, r *http.Request) error {
	p, err := parametersOf(r, "prefix_hash")
	if err != nil {
		return err
	}
	s, err := p.scope()
	if err != nil {
		return err
	}
	prefix, err := p.text("prefix_hash")
	if err != nil {
		return err
	}
	found, err := h.x.Scan(r.Context(), &s, prefix, nil)
	if err != nil {
		return err
	}
	return replyRecords(w, found)
}

func replyRecords(w http.ResponseWriter, rs []index.Record) error {
	b := []byte(`{"records":[`)
	for i := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = rs[i].AppendJSON(b)
	}
	return reply(w, append(b, "]}\n"...))
}
