package processfork

import (
	"fmt"
	"unicode/utf8"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
)

// Image is the content of an image manifest: a whole agent, of which the cache
// is one layer.
type Image struct {
	SchemaVersion uint32 // 1
	MediaType     string // MediaType
	Agent         Agent
	Model         Model
	Cache         Cache
	World         World
	Ledger        digest.Digest // of the effects
	Messages      digest.Digest // of the trace
	CreatedAt     Timestamp
	Parents       []digest.Digest // at most two; two are a merge
}

// Agent says what kind of process was captured.
type Agent struct{ Kind, Version, Fingerprint string }

// Model names the weights: a base and what differs from it.
type Model struct{ Base, Diff digest.Digest }

// Cache names a page manifest.
type Cache struct {
	Layout   string
	Manifest digest.Digest
}

// World names the captured surroundings of the process.
type World struct{ FS, Env, Procs digest.Digest }

// MaxParents is the greatest number of parents of an image.
const MaxParents = 2

// Encode returns the canonical bytes of m, whose SHA-256 is the image's
// digest. Digests that are not SHA-256, text that is not UTF-8 and a time that
// cannot be written are ErrInvalid.
func (m *Image) Encode() ([]byte, error) {
	w := imageWriter{}
	w.number(`{"schema_version":`, m.SchemaVersion)
	w.text(`,"media_type":`, m.MediaType)
	w.text(`,"agent":{"kind":`, m.Agent.Kind)
	w.text(`,"version":`, m.Agent.Version)
	w.text(`,"fingerprint":`, m.Agent.Fingerprint)
	w.digest(`},"model":{"base":`, m.Model.Base)
	w.digest(`,"diff":`, m.Model.Diff)
	w.text(`},"cache":{"layout":`, m.Cache.Layout)
	w.digest(`,"manifest":`, m.Cache.Manifest)
	w.digest(`},"world":{"fs":`, m.World.FS)
	w.digest(`,"env":`, m.World.Env)
	w.digest(`,"procs":`, m.World.Procs)
	w.digest(`},"effects":{"ledger":`, m.Ledger)
	w.digest(`},"trace":{"messages":`, m.Messages)
	at, err := m.CreatedAt.Append(nil)
	if err != nil {
		return nil, err
	}
	w.text(`},"created_at":`, string(at))
	w.b = append(w.b, `,"parents":[`...)
	for i, p := range m.Parents {
		w.b = comma(w.b, i)
		w.digest("", p)
	}
	w.b = append(w.b, "]}"...)
	return w.b, w.err
}

// imageWriter appends members and keeps the first error.
type imageWriter struct {
	b   []byte
	err error
}

func (w *imageWriter) number(key string, v uint32) { w.b = appendNumber(w.b, key, v) }

func (w *imageWriter) text(key, s string) {
	if w.err == nil && !utf8.ValidString(s) {
		w.err = invalid("image: text %q is not UTF-8", s)
	}
	w.b = strictjson.AppendString(append(w.b, key...), s)
}

func (w *imageWriter) digest(key string, d digest.Digest) {
	if w.err == nil && d.Algorithm() != digest.SHA256 {
		w.err = invalid("image: digest %v, want SHA-256", d)
	}
	w.b = append(append(w.b, key...), '"')
	w.b = append(d.Append(w.b), '"')
}

// DecodeImage reads an image manifest. Every key but parents must be there,
// none twice; unknown keys are ignored. What is no image manifest, and in
// strict mode more than MaxParents parents, is ErrCorrupt; in strict mode
// another schema version, media type or cache layout is ErrUnsupported.
func DecodeImage(data []byte, o Options) (*Image, error) {
	r := imageReader{Reader: strictjson.NewReader(data)}
	err := r.image()
	if err == nil {
		err = r.End()
	}
	m := &r.out
	switch {
	case err != nil:
	case o.Lenient:
	case m.SchemaVersion != 1 || m.MediaType != MediaType:
		err = unsupported("schema version %d of media type %.80q", m.SchemaVersion, m.MediaType)
	case m.Cache.Layout != Layout:
		err = unsupported("cache layout %.80q", m.Cache.Layout)
	case len(m.Parents) > MaxParents:
		err = corrupt("%d parents, want at most %d", len(m.Parents), MaxParents)
	}
	if err != nil {
		return nil, fmt.Errorf("processfork: image manifest: %w", err)
	}
	return m, nil
}
