package processfork

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// Page is one entry of a page manifest.
type Page struct {
	Ix   uint32        // the engine's index
	K, V digest.Digest // SHA-256
}

// PageManifest is the content of a page manifest as it stands in the file,
// also where it contradicts itself, so that writing it again gives the same
// bytes.
type PageManifest struct {
	Meta  pager.Meta // plain
	Pages []Page
	Seqs  []pager.LogicalSeq
}

// Encode returns the canonical bytes of m, whose SHA-256 is the manifest's
// digest: pages by ix, sequences by id, each keeping the order of repeats. It
// refuses, with ErrInvalid, only what the format cannot hold: a digest that is
// not SHA-256, an id that is not UTF-8. A geometry that is not plain or whose
// dtype ProcessFork does not know is ErrUnsupported. m is not changed.
func (m *PageManifest) Encode() ([]byte, error) {
	if err := checkMeta(m.Meta); err != nil {
		return nil, err
	}
	pages, seqs := sorted(m.Pages, byIx), sorted(m.Seqs, byID)
	size := 256 + 175*len(pages)
	for i := range seqs {
		if !utf8.ValidString(seqs[i].ID) {
			return nil, invalid("sequence id %q is not UTF-8", seqs[i].ID)
		}
		size += 64 + len(seqs[i].ID) + 8*len(seqs[i].Pages)
	}
	b := appendMeta(make([]byte, 0, size), m.Meta)
	b = append(b, `,"pages":[`...)
	for i := range pages {
		p := &pages[i]
		if p.K.Algorithm() != digest.SHA256 || p.V.Algorithm() != digest.SHA256 {
			return nil, invalid("page %d has digests %v and %v, want SHA-256", p.Ix, p.K, p.V)
		}
		b = p.append(comma(b, i))
	}
	b = append(b, `],"logical_seqs":[`...)
	for i := range seqs {
		b = appendSeq(comma(b, i), &seqs[i])
	}
	return append(b, "]}"...), nil
}

// checkMeta returns ErrUnsupported unless a page manifest can state m.
func checkMeta(m pager.Meta) error {
	switch m.Dtype {
	case pager.BF16, pager.F16, pager.F32, pager.FP8E4M3:
	default:
		return unsupported("dtype %v", m.Dtype)
	}
	if !m.IsPlain() {
		return unsupported("geometry %v, which is not one plain K and one plain V", m)
	}
	return nil
}

func byIx(a, b Page) int { return cmp.Compare(a.Ix, b.Ix) }

func byID(a, b pager.LogicalSeq) int { return strings.Compare(a.ID, b.ID) }

// sorted returns s in stable order, as it is where it is in order already.
func sorted[T any](s []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(s, compare) {
		return s
	}
	s = slices.Clone(s)
	slices.SortStableFunc(s, compare)
	return s
}

func appendMeta(b []byte, m pager.Meta) []byte {
	b = append(b, `{"layout":"`+Layout...)
	b = appendNumber(b, `","page_size_tokens":`, m.PageTokens)
	b = appendNumber(b, `,"n_layers":`, m.Layers)
	b = appendNumber(b, `,"n_heads":`, m.KVHeads)
	b = appendNumber(b, `,"head_dim":`, m.HeadDim)
	b = append(b, `,"dtype":"`...)
	b = append(b, m.Dtype.String()...)
	return append(b, '"')
}

func (p *Page) append(b []byte) []byte {
	b = appendNumber(b, `{"ix":`, p.Ix)
	b = p.K.Append(append(b, `,"k":"`...))
	b = p.V.Append(append(b, `","v":"`...))
	return append(b, `"}`...)
}

func appendSeq(b []byte, s *pager.LogicalSeq) []byte {
	b = strictjson.AppendString(append(b, `{"id":`...), s.ID)
	b = append(b, `,"page_ixs":[`...)
	for i, p := range s.Pages {
		b = appendNumber(comma(b, i), "", uint32(p))
	}
	b = appendNumber(b, `],"fill_in_last_page":`, s.FillInLastPage)
	return append(b, '}')
}

func appendNumber(b []byte, key string, v uint32) []byte {
	return strconv.AppendUint(append(b, key...), uint64(v), 10)
}

func comma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}
