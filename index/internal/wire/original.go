package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// Original writes and reads the keys of QuillCache's stores on disk, 00 standing
// for one byte:
//
//	01 model 00 tokenizer 00 adapter or nothing 00 tenant 00 prefix 00 hash 00 index 00 worker 00 tier
//	02 model 00 tokenizer 00 adapter or nothing 00 tenant 00 hash 00 worker 00 tier 00 prefix 00 index
//
// The index has four bytes, the greatest first, and the tier is its name. The
// value of the first is the record as a JSON document, that of the second the
// first key. A NUL in a field would make a key that is another record's too:
// nothing is written for such a record. Nothing but the conversion of old stores
// needs them.
type Original struct{}

// fields returns the strings of a record in the order of the first key.
func (Original) fields(r *index.Record) ([8]string, error) {
	adapter, _ := r.Adapter.Name()
	f := [8]string{r.Model, r.Tokenizer, adapter, r.Tenant, r.Prefix, r.Hash, r.Worker, r.Tier.String()}
	for _, s := range f {
		if strings.IndexByte(s, 0) >= 0 {
			return f, fmt.Errorf("wire: the original's key of a record with NUL in %q: %w", s, kvferry.ErrInvalid)
		}
	}
	return f, r.Check()
}

// AppendPrimary appends the first key of a record.
func (o Original) AppendPrimary(dst []byte, r *index.Record) ([]byte, error) {
	f, err := o.fields(r)
	if err != nil {
		return dst, err
	}
	dst = append(dst, 1)
	for _, s := range f[:6] {
		dst = append(append(dst, s...), 0)
	}
	dst = append(binary.BigEndian.AppendUint32(dst, r.Index), 0)
	return append(append(append(dst, f[6]...), 0), f[7]...), nil
}

// AppendSecondary appends the second key of a record.
func (o Original) AppendSecondary(dst []byte, r *index.Record) ([]byte, error) {
	f, err := o.fields(r)
	if err != nil {
		return dst, err
	}
	dst = append(dst, 2)
	for _, i := range [...]int{0, 1, 2, 3, 5, 6, 7, 4} {
		dst = append(append(dst, f[i]...), 0)
	}
	return binary.BigEndian.AppendUint32(dst, r.Index), nil
}

// ParsePrimary sets the identity of r from a first key. An adapter that is
// nothing is read as none; which it was, the document says.
func (Original) ParsePrimary(key []byte, r *index.Record) error {
	f, rest, ok := cut(key, 1, 6)
	if !ok || len(rest) < 5 || rest[4] != 0 {
		return badOriginal("first")
	}
	worker, tier, ok := bytes.Cut(rest[5:], []byte{0})
	if !ok {
		return badOriginal("first")
	}
	r.Prefix, r.Hash, r.Index = f[4], f[5], binary.BigEndian.Uint32(rest)
	return identify(r, f, string(worker), string(tier), "first")
}

// ParseSecondary sets the identity of r from a second key.
func (Original) ParseSecondary(key []byte, r *index.Record) error {
	f, rest, ok := cut(key, 2, 8)
	if !ok || len(rest) != 4 {
		return badOriginal("second")
	}
	r.Hash, r.Prefix, r.Index = f[4], f[7], binary.BigEndian.Uint32(rest)
	return identify(r, f, f[5], f[6], "second")
}

// cut takes so many strings with their separators off a key.
func cut(key []byte, tag byte, count int) (fields []string, rest []byte, ok bool) {
	if len(key) == 0 || key[0] != tag {
		return nil, nil, false
	}
	for rest = key[1:]; len(fields) < count; {
		f, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, nil, false
		}
		fields, rest = append(fields, string(f)), after
	}
	return fields, rest, true
}

func identify(r *index.Record, scope []string, worker, tier, kind string) error {
	t := index.Tier(slices.IndexFunc(originalTiers[:], func(name string) bool { return name == tier }))
	if strings.IndexByte(tier, 0) >= 0 || !t.Valid() {
		return badOriginal(kind)
	}
	r.Scope = index.Scope{Model: scope[0], Tokenizer: scope[1], Tenant: scope[3]}
	if scope[2] != "" {
		r.Adapter = index.Named(scope[2])
	}
	r.Worker, r.Tier = worker, t
	return nil
}

var originalTiers = [index.Tiers]string{
	index.CPUDRAM: "cpu_dram", index.HBM: "hbm", index.LocalSSD: "local_ssd",
	index.ObjectStore: "object_store", index.RemoteHBM: "remote_hbm",
}

func badOriginal(kind string) error {
	return fmt.Errorf("wire: not a %s key of the original: %w", kind, kvferry.ErrCorrupt)
}
