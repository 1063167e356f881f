package processfork

import (
	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
)

// imageReader reads one image manifest.
type imageReader struct {
	*strictjson.Reader
	out Image
}

// field is a key of an object and how its value is read.
type field struct {
	key  string
	read func() error
}

// object reads an object that has exactly the given fields and perhaps
// unknown ones; optional is a bit set of those that may be missing.
func (r *imageReader) object(optional uint64, fs ...field) error {
	keys := make([]string, len(fs))
	for i, f := range fs {
		keys[i] = f.key
	}
	_, err := fields(r.Reader, keys, optional, func(i int) error { return fs[i].read() })
	return err
}

func (r *imageReader) image() error {
	m := &r.out
	const parents = 1 << 9
	return r.object(parents,
		field{"schema_version", func() (err error) { m.SchemaVersion, err = r.Uint32(); return err }},
		r.text("media_type", &m.MediaType),
		r.nested("agent", r.text("kind", &m.Agent.Kind), r.text("version", &m.Agent.Version),
			r.text("fingerprint", &m.Agent.Fingerprint)),
		r.nested("model", r.digest("base", &m.Model.Base), r.digest("diff", &m.Model.Diff)),
		r.nested("cache", r.text("layout", &m.Cache.Layout), r.digest("manifest", &m.Cache.Manifest)),
		r.nested("world", r.digest("fs", &m.World.FS), r.digest("env", &m.World.Env), r.digest("procs", &m.World.Procs)),
		r.nested("effects", r.digest("ledger", &m.Ledger)),
		r.nested("trace", r.digest("messages", &m.Messages)),
		field{"created_at", r.createdAt},
		field{"parents", r.parents},
	)
}

func (r *imageReader) nested(key string, fs ...field) field {
	return field{key, func() error { return r.object(0, fs...) }}
}

func (r *imageReader) text(key string, s *string) field {
	return field{key, func() (err error) { *s, err = r.String(); return err }}
}

func (r *imageReader) digest(key string, d *digest.Digest) field {
	return field{key, func() error { return readDigest(r.Reader, d) }}
}

func (r *imageReader) createdAt() error {
	s, err := r.String()
	if err != nil {
		return err
	}
	if r.out.CreatedAt, err = ParseTimestamp(s); err != nil {
		return r.Errorf("created_at: %v", err)
	}
	return nil
}

func (r *imageReader) parents() error {
	return r.Array(func() error {
		var d digest.Digest
		err := readDigest(r.Reader, &d)
		r.out.Parents = append(r.out.Parents, d)
		return err
	})
}
