package synthetic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// Fill says which bytes Config.Open puts into the pages.
type Fill string

// The ways to fill pages.
const (
	FillSeed Fill = "seed" // Populate: ProcessFork's bytes
	FillKV   Fill = "kv"   // PopulateKV: like the keys and values of a model
)

// Config is what a spec string says.
type Config struct {
	Meta  pager.Meta
	Pages int
	Seed  uint64
	Fill  Fill
}

// Scheme is the word before the colon of a spec string.
const Scheme = "synthetic"

// specKeys returns the keys of a spec string in the order of String.
func specKeys() []string {
	return []string{"page-tokens", "layers", "kv-heads", "head-dim", "dtype", "pages", "seed", "fill"}
}

// ParseSpec reads a spec string such as
//
//	synthetic:page-tokens=8,layers=4,kv-heads=4,head-dim=8,dtype=bf16,pages=64,seed=0,fill=seed
//
// in which every key may be left out: these are the defaults. Plain
// "synthetic" is legal too. An unknown, repeated or malformed key and a
// geometry beyond the limits are ErrInvalid.
func ParseSpec(spec string) (Config, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("synthetic: pager spec %.200q: %s: %w", spec, fmt.Sprintf(format, args...), kvferry.ErrInvalid)
	}
	name, rest, _ := strings.Cut(spec, ":")
	if name != Scheme {
		return Config{}, fail("want %q before the colon", Scheme)
	}
	s := fields{tokens: 8, layers: 4, heads: 4, dim: 8, dtype: pager.BF16, Config: Config{Pages: 64, Fill: FillSeed}}
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(rest, ",") {
		if rest == "" {
			break
		}
		key, value, ok := strings.Cut(item, "=")
		switch {
		case !slices.Contains(specKeys(), key):
			return Config{}, fail("unknown key %q, want one of %s", key, strings.Join(specKeys(), ", "))
		case !ok || value == "":
			return Config{}, fail("key %q has no value, want %s=VALUE", key, key)
		case seen[key]:
			return Config{}, fail("key %q occurs twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return Config{}, fail("%s=%s: %v", key, value, err)
		}
	}
	m, err := pager.Plain(s.tokens, s.layers, s.heads, s.dim, s.dtype)
	if err != nil {
		return Config{}, fail("%v", err)
	}
	if s.Fill == FillKV && s.dtype != pager.BF16 {
		return Config{}, fail("fill=kv needs dtype=bf16")
	}
	s.Meta = m
	return s.Config, nil
}

// fields is a Config whose geometry is not put together yet.
type fields struct {
	Config
	tokens, layers, heads, dim uint32
	dtype                      pager.Dtype
}

func (s *fields) set(key, value string) error {
	switch key {
	case "page-tokens":
		return number(&s.tokens, value)
	case "layers":
		return number(&s.layers, value)
	case "kv-heads":
		return number(&s.heads, value)
	case "head-dim":
		return number(&s.dim, value)
	case "pages":
		var n uint32
		err := number(&n, value)
		s.Pages = int(n)
		return err
	case "seed":
		n, err := strconv.ParseUint(value, 10, 64)
		s.Seed = n
		return plainly(err, "18446744073709551615")
	case "dtype":
		d, err := pager.ParseDtype(value)
		s.dtype = d
		return err
	}
	s.Fill = Fill(value)
	if s.Fill != FillSeed && s.Fill != FillKV {
		return fmt.Errorf("want %s or %s", FillSeed, FillKV)
	}
	return nil
}

// number reads a decimal number of 32 bits.
func number(dst *uint32, value string) error {
	n, err := strconv.ParseUint(value, 10, 32)
	*dst = uint32(n)
	return plainly(err, "4294967295")
}

// plainly says what a number has to be instead of what strconv did.
func plainly(err error, limit string) error {
	if err != nil {
		return fmt.Errorf("want a whole number from 0 to %s", limit)
	}
	return nil
}

// String returns the spec string that ParseSpec reads back to c.
func (c Config) String() string {
	return fmt.Sprintf("%s:page-tokens=%d,layers=%d,kv-heads=%d,head-dim=%d,dtype=%v,pages=%d,seed=%d,fill=%s", Scheme,
		c.Meta.PageTokens, c.Meta.Layers, c.Meta.KVHeads, c.Meta.HeadDim, c.Meta.Dtype, c.Pages, c.Seed, c.Fill)
}

// Empty returns an engine of c's geometry without pages, with room for
// capacity pages; 0 stands for DefaultCapacity.
func (c Config) Empty(capacity int) (*Engine, error) {
	return New(Options{Meta: c.Meta, Capacity: capacity})
}

// Open returns an engine with c's pages in it and room for as many again, but
// for at least DefaultCapacity.
func (c Config) Open() (*Engine, error) {
	e, err := c.Empty(int(min(max(2*int64(c.Pages), DefaultCapacity), pager.MaxPages)))
	if err != nil {
		return nil, err
	}
	if c.Fill == FillKV {
		err = e.PopulateKV(c.Pages, c.Seed)
	} else {
		err = e.Populate(c.Pages, c.Seed)
	}
	if err != nil {
		_ = e.Close() // the first error counts
		return nil, err
	}
	return e, nil
}
