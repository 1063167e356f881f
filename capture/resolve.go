package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// minPrefix is the least number of hexadecimal digits that can stand for a
// digest.
const minPrefix = 4

// Resolve finds the snapshot that ref means: a name, a digest, or a prefix of
// a digest of at least four digits, with or without its algorithm. Names go
// first. Nothing is ErrNotFound, several snapshots are ErrAmbiguous, text that
// can be none of these is ErrInvalid.
//
// A digest that is not in the catalog is looked for among the blobs, so that
// stores written by ProcessFork, which has no catalog, can be read; of such an
// entry only Root and Format are known.
func Resolve(ctx context.Context, s cas.Store, ref string) (cas.Entry, error) {
	if cas.CheckName(ref) == nil {
		e, err := s.Catalog().Lookup(ctx, ref)
		if !errors.Is(err, kvferry.ErrNotFound) {
			return e, err
		}
	}
	p, err := parsePrefix(ref)
	if err != nil {
		return cas.Entry{}, err
	}
	entries, err := s.Catalog().Entries(ctx)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
		return cas.Entry{}, err
	}
	var found []cas.Entry
	for _, e := range entries {
		if p.matches(e.Root) {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		if found, err = unlisted(ctx, s, p); err != nil {
			return cas.Entry{}, err
		}
	}
	switch len(found) {
	case 0:
		return cas.Entry{}, fmt.Errorf("capture: no snapshot is named %q: %w", ref, kvferry.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return cas.Entry{}, fmt.Errorf("capture: %q can mean %v, %v%s: %w", ref, found[0].Root, found[1].Root,
		map[bool]string{true: " and others"}[len(found) > 2], kvferry.ErrAmbiguous)
}

// prefix is the beginning of a digest's text.
type prefix struct {
	alg digest.Algorithm // 0: any
	hex string
}

func (p prefix) matches(d digest.Digest) bool {
	return (p.alg == 0 || p.alg == d.Algorithm()) && strings.HasPrefix(d.Hex(), p.hex)
}

func parsePrefix(ref string) (prefix, error) {
	p := prefix{hex: ref}
	if name, hex, ok := strings.Cut(ref, ":"); ok {
		a, err := digest.ParseAlgorithm(name)
		if err != nil {
			return prefix{}, fmt.Errorf("capture: reference %.100q: unknown algorithm: %w", ref, kvferry.ErrInvalid)
		}
		p = prefix{alg: a, hex: hex}
	} else if cas.CheckName(ref) == nil && (len(ref) < minPrefix || strings.Trim(ref, "0123456789abcdef") != "") {
		return prefix{}, fmt.Errorf("capture: no snapshot is named %q: %w", ref, kvferry.ErrNotFound)
	}
	if len(p.hex) < minPrefix || len(p.hex) > 2*digest.Size || strings.Trim(p.hex, "0123456789abcdef") != "" {
		return prefix{}, fmt.Errorf("capture: reference %.100q is neither a name nor a digest or a prefix of one of at least %d digits: %w",
			ref, minPrefix, kvferry.ErrInvalid)
	}
	return p, nil
}

// unlisted looks for manifests that the catalog does not know.
func unlisted(ctx context.Context, s cas.Store, p prefix) ([]cas.Entry, error) {
	var candidates []digest.Digest
	if len(p.hex) == 2*digest.Size {
		algs := []digest.Algorithm{digest.BLAKE3, digest.KeyedBLAKE3, digest.SHA256}
		if p.alg != 0 {
			algs = []digest.Algorithm{p.alg}
		}
		for _, a := range algs {
			d, err := digest.ParseHex(a, p.hex)
			if err != nil {
				return nil, err
			}
			has, err := s.Has(ctx, d)
			if err != nil {
				return nil, err
			}
			if has {
				candidates = append(candidates, d)
			}
		}
	} else if en, ok := s.(cas.Enumerator); ok {
		for b, err := range en.Blobs(ctx) {
			if err != nil {
				return nil, err
			}
			if p.matches(b.Digest) {
				candidates = append(candidates, b.Digest)
			}
		}
	}
	return manifestsAmong(ctx, s, candidates, len(p.hex) == 2*digest.Size)
}

// manifestsAmong keeps the blobs that are manifests. A blob that cannot be read
// stays if it is the only candidate: asking for it must show the damage.
//
// With exact, a document that is no whole manifest stays too: whoever names all
// of a digest wants to hear what is wrong with it.
func manifestsAmong(ctx context.Context, s cas.Store, ds []digest.Digest, exact bool) ([]cas.Entry, error) {
	r, err := cas.NewReader(s, nil)
	if err != nil {
		return nil, err
	}
	r.KeepDamaged() // looking is no reason to change anything
	var found []cas.Entry
	for _, d := range ds {
		e := cas.Entry{Root: d, Format: cas.FormatNative}
		if d.Algorithm() == digest.SHA256 {
			e.Format = cas.FormatProcessFork
		}
		data, err := r.ReadAll(ctx, d, manifest.MaxDocumentBytes)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil && !isManifest(d, data) && !(exact && d.Algorithm() == digest.SHA256 && isDocument(data) && bytes.Contains(data, []byte(`"layout"`))) || err != nil && len(ds) > 1 {
			continue
		}
		found = append(found, e)
	}
	return found, nil
}

// isManifest reports whether a blob's content is meant to be a snapshot's root.
// A ProcessFork image counts: Load says what it is.
func isManifest(d digest.Digest, data []byte) bool {
	if d.Algorithm() != digest.SHA256 {
		return manifest.IsDocument(data)
	}
	if !isDocument(data) {
		return false
	}
	_, err := processfork.DecodePages(data, processfork.Options{Lenient: true})
	if err == nil {
		return true
	}
	_, err = processfork.DecodeImage(data, processfork.Options{Lenient: true})
	return err == nil
}

func isDocument(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
}
