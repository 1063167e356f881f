package manifest

import (
	"strconv"
	"strings"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

const (
	format       = "kvferry.snapshot.v1"
	formatFamily = "kvferry.snapshot." // what every version begins with
	formatKey    = `{"format":"`
)

// IsDocument reports whether data begins like a native root document of any
// version.
func IsDocument(data []byte) bool {
	const start = formatKey + formatFamily
	return len(data) >= len(start) && string(data[:len(start)]) == start
}

// document is the content of a root document.
type document struct {
	identity identity.Identity
	groups   []groupDoc
}

type groupDoc struct {
	name      string
	meta      pager.Meta
	pages     int
	alg       digest.Algorithm
	table     []digest.Digest
	indices   []digest.Digest // nil if there are none
	sequences []Sequence
}

// append appends the canonical form of d.
func (d *document) append(b []byte) []byte {
	b = append(b, formatKey+format+`","identity":{"model":`...)
	id := d.identity
	b = strictjson.AppendString(b, id.Model)
	b = appendText(b, `,"weights":`, id.Weights)
	b = appendText(b, `,"tokenizer":`, id.Tokenizer)
	if id.Adapter == nil {
		b = append(b, `,"adapter":null`...)
	} else {
		b = appendText(b, `,"adapter":`, *id.Adapter)
	}
	b = appendText(b, `,"tenant":`, id.Tenant)
	b = appendNumber(b, `,"rank":`, uint64(id.Rank))
	b = appendNumber(b, `,"world":`, uint64(id.World))
	b = append(b, `},"groups":[`...)
	for i := range d.groups {
		b = comma(b, i)
		b = d.groups[i].append(b)
	}
	return append(b, "]}"...)
}

func (g *groupDoc) append(b []byte) []byte {
	b = appendText(b, `{"name":`, g.name)
	b = appendNumber(b, `,"page_tokens":`, uint64(g.meta.PageTokens))
	b = appendNumber(b, `,"layers":`, uint64(g.meta.Layers))
	b = appendNumber(b, `,"kv_heads":`, uint64(g.meta.KVHeads))
	b = appendNumber(b, `,"head_dim":`, uint64(g.meta.HeadDim))
	b = appendText(b, `,"dtype":`, g.meta.Dtype.String())
	b = append(b, `,"parts":[`...)
	for i, p := range g.meta.Parts {
		b = comma(b, i)
		b = appendText(b, `{"kind":`, string(p.Kind))
		b = appendNumber(b, `,"bytes":`, uint64(p.Bytes))
		b = appendText(b, `,"form":`, p.Form)
		b = append(b, '}')
	}
	b = appendText(b, `],"fingerprint":`, g.meta.Fingerprint().String())
	b = appendNumber(b, `,"pages":`, uint64(g.pages))
	b = appendText(b, `,"algorithm":`, g.alg.String())
	b = appendNumber(b, `,"chunk_pages":`, TableChunkPages)
	b = appendDigests(append(b, `,"table":`...), g.table)
	if g.indices == nil {
		b = append(b, `,"indices":null`...)
	} else {
		b = appendDigests(append(b, `,"indices":`...), g.indices)
	}
	b = append(b, `,"sequences":[`...)
	for i := range g.sequences {
		b = comma(b, i)
		b = g.sequences[i].append(b)
	}
	return append(b, "]}"...)
}

func (s *Sequence) append(b []byte) []byte {
	b = appendText(b, `{"id":`, s.ID)
	b = append(b, `,"pages":[`...)
	for i := 0; i < len(s.Pages); {
		n := 1
		for i+n < len(s.Pages) && s.Pages[i+n] == s.Pages[i]+uint32(n) {
			n++
		}
		b = comma(b, i)
		b = appendNumber(b, "[", uint64(s.Pages[i]))
		b = appendNumber(b, ",", uint64(n))
		b = append(b, ']')
		i += n
	}
	b = appendNumber(b, `],"fill":`, uint64(s.FillInLastPage))
	return append(b, '}')
}

func appendText(b []byte, key, value string) []byte {
	return strictjson.AppendString(append(b, key...), value)
}

func appendNumber(b []byte, key string, value uint64) []byte {
	return strconv.AppendUint(append(b, key...), value, 10)
}

func appendDigests(b []byte, ds []digest.Digest) []byte {
	b = append(b, '[')
	for i, d := range ds {
		b = comma(b, i)
		b = append(b, '"')
		b = append(d.Append(b), '"')
	}
	return append(b, ']')
}

func comma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}

// version returns what a document's format tag says about the version.
func version(tag string) error {
	switch {
	case tag == format:
		return nil
	case strings.HasPrefix(tag, formatFamily):
		return unsupported("snapshot format %.80q", tag)
	}
	return corrupt("format tag %.80q is no snapshot's", tag)
}
