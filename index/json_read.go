package index

import (
	"encoding/base64"
	"fmt"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
)

// fieldSet is a set of fields.
type fieldSet uint32

func setOf(fs ...field) fieldSet {
	var s fieldSet
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }

// objectKind is what an object may and must have.
type objectKind struct{ known, required fieldSet }

func scopeObject() objectKind {
	required := setOf(modelField, tokenizerField, tenantField)
	return objectKind{required | setOf(adapterField, base64Field), required}
}

func keyObject() objectKind {
	s, more := scopeObject(), setOf(prefixField, hashField, indexField, tokensField)
	return objectKind{s.known | more | setOf(groupField), s.required | more}
}

func recordObject() objectKind {
	required := setOf(keyField, workerField, tierField, bytesField, accessField, refsField, pinnedField)
	return objectKind{required | setOf(base64Field), required}
}

// ParseScope reads the document that Scope.AppendJSON writes. Members that it
// does not know are skipped; whatever else is not right is ErrCorrupt, with the
// offset.
func ParseScope(data []byte) (Scope, error) {
	r, err := parse(data, scopeObject(), "scope")
	return r.Scope, err
}

// ParseKey reads the document that Key.AppendJSON writes, as ParseScope does.
func ParseKey(data []byte) (Key, error) {
	r, err := parse(data, keyObject(), "key")
	return r.Key, err
}

// ParseRecord reads the document that Record.AppendJSON writes, as ParseScope
// does.
func ParseRecord(data []byte) (Record, error) { return parse(data, recordObject(), "record") }

func parse(data []byte, kind objectKind, what string) (Record, error) {
	d := decoder{Reader: strictjson.NewReader(data)}
	err := d.object(kind)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return Record{}, fmt.Errorf("index: %s: %w", what, err)
	}
	return d.record, nil
}

// decoder reads a document into a record, of which a scope and a key are parts.
type decoder struct {
	*strictjson.Reader
	record Record
}

// object reads an object of a kind.
func (d *decoder) object(kind objectKind) error {
	var seen fieldSet
	var raw map[field]string
	err := d.Object(func(name []byte) error {
		f := fieldNamed(name)
		switch {
		case f == fields || !kind.known.has(f):
			return d.Skip()
		case seen.has(f):
			return d.Errorf("%s twice", fieldNames[f])
		}
		seen |= setOf(f)
		if f == base64Field {
			var err error
			raw, err = d.base64(kind)
			return err
		}
		return d.value(f)
	})
	if err != nil {
		return err
	}
	for f := range fields {
		if kind.required.has(f) && !seen.has(f) {
			return d.Errorf("no %s", fieldNames[f])
		}
		if bytes, ok := raw[f]; ok {
			if !seen.has(f) || !d.replace(f, bytes) {
				return d.Errorf("base64 of %s is not what the text stands for", fieldNames[f])
			}
		}
	}
	return nil
}

func fieldNamed(name []byte) field {
	for f, n := range fieldNames {
		if string(name) == n {
			return field(f)
		}
	}
	return fields
}

// value reads the value of a field.
func (d *decoder) value(f field) error {
	var err error
	r := &d.record
	switch f {
	case keyField:
		err = d.object(keyObject())
	case adapterField:
		err = d.adapter()
	case tierField:
		err = d.tier()
	case pinnedField:
		err = d.pinned()
	case indexField:
		r.Index, err = d.Uint32()
	case tokensField:
		r.Tokens, err = d.Uint32()
	case groupField:
		r.Group, err = d.Uint32()
	case refsField:
		r.Refs, err = d.Uint32()
	case bytesField:
		r.Bytes, err = d.Uint64()
	case accessField:
		r.LastAccess, err = d.Uint64()
	default:
		*r.textAt(f), err = d.String()
	}
	return err
}

func (d *decoder) adapter() error {
	if d.Peek() == 'n' && d.Literal("null") {
		return nil
	}
	name, err := d.String()
	if err == nil {
		d.record.Adapter = Named(name)
	}
	return err
}

// tier reads "Hbm" or, as the original's reader did, {"Hbm":null}.
func (d *decoder) tier() error {
	if d.Peek() != '{' {
		name, err := d.Text()
		if err != nil {
			return err
		}
		return d.tierNamed(name)
	}
	n := 0
	err := d.Object(func(name []byte) error {
		if err := d.tierNamed(name); err != nil {
			return err
		}
		if n++; n > 1 {
			return d.Errorf("two tiers")
		}
		if d.Peek(); !d.Literal("null") {
			return d.Errorf("a tier with a value")
		}
		return nil
	})
	if err == nil && n == 0 {
		err = d.Errorf("no tier")
	}
	return err
}

func (d *decoder) tierNamed(name []byte) error {
	var err error
	if d.record.Tier, err = ParseVariant(string(name)); err != nil {
		return d.Errorf("unknown tier %q", name)
	}
	return nil
}

func (d *decoder) pinned() error {
	d.Peek()
	switch {
	case d.Literal("true"):
		d.record.Pinned = true
	case d.Literal("false"):
	default:
		return d.Errorf("expected true or false")
	}
	return nil
}

// base64 reads the bytes of texts in an object of a kind.
func (d *decoder) base64(kind objectKind) (map[field]string, error) {
	raw := map[field]string{}
	err := d.Object(func(name []byte) error {
		f := fieldNamed(name)
		if f == fields || !kind.known.has(f) || (f != adapterField && d.record.textAt(f) == nil) {
			return d.Errorf("base64 of what is no text")
		}
		if _, twice := raw[f]; twice {
			return d.Errorf("base64 of %s twice", fieldNames[f])
		}
		text, err := d.Text()
		if err != nil {
			return err
		}
		bytes, err := base64.StdEncoding.Strict().DecodeString(string(text))
		if err != nil {
			return d.Errorf("base64 of %s: %v", fieldNames[f], err)
		}
		raw[f] = string(bytes)
		return nil
	})
	return raw, err
}

// replace puts bytes in the place of the text that stands for them, and reports
// whether it does.
func (d *decoder) replace(f field, bytes string) bool {
	if d.record.text(f) != readable(bytes) {
		return false
	}
	if f != adapterField {
		*d.record.textAt(f) = bytes
		return true
	}
	if _, ok := d.record.Adapter.Name(); !ok {
		return false
	}
	d.record.Adapter = Named(bytes)
	return true
}
