package processfork

import (
	"fmt"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/pager"
)

// The keys of a page manifest; reader.member knows their places.
var manifestKeys = []string{
	"layout", "page_size_tokens", "n_layers", "n_heads", "head_dim", "dtype", "pages", "logical_seqs", "name",
}

const (
	keyLayout = iota
	keyTokens
	keyLayers
	keyHeads
	keyHeadDim
	keyDtype
	keyPages
	keySeqs
	keyName
)

var (
	pageKeys = []string{"ix", "k", "v"}
	seqKeys  = []string{"id", "page_ixs", "fill_in_last_page"}
)

// parsed is what the text of a page manifest says.
type parsed struct {
	manifest PageManifest
	name     string
	noSeqs   bool
}

// reader reads one page manifest.
type reader struct {
	*strictjson.Reader
	options Options
	out     parsed
	dims    [4]uint32 // tokens, layers, heads, head dim
	ixs     []pager.PageID
}

// DecodePages reads the text of a page manifest and leaves everything as it
// stands there; DecodeManifest also judges it. Text that is not such a
// manifest is ErrCorrupt, another layout ErrUnsupported, and so is a page
// beyond pager.MaxPageBytes.
func DecodePages(data []byte, o Options) (*PageManifest, error) {
	p, err := parse(data, o)
	if err != nil {
		return nil, err
	}
	return &p.manifest, nil
}

func parse(data []byte, o Options) (*parsed, error) {
	r := reader{Reader: strictjson.NewReader(data), options: o}
	if err := r.document(); err != nil {
		// The layout says how to read everything else, so a foreign one is
		// the reason to give, wherever it stands.
		if tag, ok := layoutOf(data); ok && tag != Layout {
			err = unsupported("layout %.80q", tag)
		}
		return nil, fmt.Errorf("processfork: page manifest: %w", err)
	}
	return &r.out, nil
}

func (r *reader) document() error {
	optional := uint64(1) << keyName
	if r.options.Lenient {
		optional |= 1 << keySeqs
	}
	seen, err := fields(r.Reader, manifestKeys, optional, r.member)
	if err != nil {
		return err
	}
	if err := r.End(); err != nil {
		return err
	}
	r.out.noSeqs = seen&(1<<keySeqs) == 0
	m := &r.out.manifest.Meta
	if *m, err = pager.Plain(r.dims[0], r.dims[1], r.dims[2], r.dims[3], m.Dtype); err != nil {
		return unsupported("%v", err)
	}
	return nil
}

func (r *reader) member(i int) (err error) {
	switch i {
	case keyLayout:
		tag, err := r.Text()
		if err != nil {
			return err
		}
		if string(tag) != Layout {
			return unsupported("layout %.80q", tag)
		}
	case keyTokens, keyLayers, keyHeads, keyHeadDim:
		r.dims[i-keyTokens], err = r.Uint32()
	case keyDtype:
		return r.dtype()
	case keyPages:
		// An entry takes at least 160 bytes, so this is bounded by the text.
		r.out.manifest.Pages = make([]Page, 0, r.Rest()/160)
		err = r.Array(r.page)
	case keySeqs:
		r.out.manifest.Seqs = []pager.LogicalSeq{}
		err = r.Array(r.seq)
	case keyName:
		return r.name()
	}
	return err
}

// name keeps the adapters' name; anything but a string is an unknown key's
// value like any other.
func (r *reader) name() (err error) {
	if r.Peek() != '"' {
		return r.Skip()
	}
	r.out.name, err = r.String()
	return err
}

func (r *reader) dtype() error {
	text, err := r.Text()
	if err != nil {
		return err
	}
	switch string(text) {
	case "bf16", "f16", "f32", "fp8e4m3":
		r.out.manifest.Meta.Dtype, err = pager.ParseDtype(string(text))
		return err
	}
	return r.Errorf("dtype %.80q is not one of bf16, f16, f32, fp8e4m3", text)
}

func (r *reader) page() error {
	var p Page
	_, err := fields(r.Reader, pageKeys, 0, func(i int) (err error) {
		switch i {
		case 0:
			p.Ix, err = r.Uint32()
		case 1:
			err = readDigest(r.Reader, &p.K)
		case 2:
			err = readDigest(r.Reader, &p.V)
		}
		return err
	})
	r.out.manifest.Pages = append(r.out.manifest.Pages, p)
	return err
}

func (r *reader) seq() error {
	var s pager.LogicalSeq
	_, err := fields(r.Reader, seqKeys, 0, func(i int) (err error) {
		switch i {
		case 0:
			s.ID, err = r.String()
		case 1:
			r.ixs = r.ixs[:0]
			err = r.Array(r.ix)
			s.Pages = append(make([]pager.PageID, 0, len(r.ixs)), r.ixs...)
		case 2:
			s.FillInLastPage, err = r.Uint32()
		}
		return err
	})
	r.out.manifest.Seqs = append(r.out.manifest.Seqs, s)
	return err
}

func (r *reader) ix() error {
	v, err := r.Uint32()
	r.ixs = append(r.ixs, pager.PageID(v))
	return err
}

// layoutOf looks for the layout of a manifest that could not be read.
func layoutOf(data []byte) (tag string, ok bool) {
	r := strictjson.NewReader(data)
	// An error later in the text does not change what the layout was.
	_ = r.Object(func(key []byte) (err error) {
		if string(key) != "layout" || ok {
			return r.Skip()
		}
		tag, err = r.String()
		ok = err == nil
		return err
	})
	return tag, ok
}
