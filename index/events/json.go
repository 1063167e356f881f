package events

import (
	"github.com/kvferry/kvferry/capture/manifest/strictjson"
)

// ParseJSON reads a batch as the original does: keys match exactly and known ones
// come once, unknown ones are skipped, numbers are whole and in plain digits,
// batch and events may also be arrays in the order of the fields, events with
// their tag first. What it refuses is ErrCorrupt.
func ParseJSON(data []byte) (*Batch, error) {
	r := strictjson.NewReader(data)
	b := &Batch{}
	known := []field{
		{"engine_id", true, text(&b.EngineID)},
		{"ts_ms", false, optional(&b.Millis, (*strictjson.Reader).Uint64)},
		{"model_id", false, optional(&b.Model, (*strictjson.Reader).String)},
		{"tokenizer_id", false, optional(&b.Tokenizer, (*strictjson.Reader).String)},
		{"adapter_id", false, optional(&b.Adapter, (*strictjson.Reader).String)},
		{"tenant_id", false, optional(&b.Tenant, (*strictjson.Reader).String)},
		{"bytes_per_block", false, optional(&b.BytesPerBlock, (*strictjson.Reader).Uint64)},
		{"events", true, list(&b.Events, parseEvent)},
	}
	if err := fields(r, "batch", known, false); err != nil {
		return nil, err
	}
	return b, r.End()
}

// field is one key of an object: whether it must be there, and how its value is
// read.
type field struct {
	name     string
	required bool
	read     func(r *strictjson.Reader) error
}

// fields reads an object, or an array of the fields in order. tagged says that a
// tag that was read before is among them, in an array the first.
func fields(r *strictjson.Reader, what string, known []field, tagged bool) error {
	seen := make([]bool, len(known))
	var err error
	if r.Peek() == '[' {
		err = elements(r, what, known, seen, tagged)
	} else {
		err = members(r, known, seen)
	}
	if err != nil {
		return err
	}
	for i := range known {
		if known[i].required && !seen[i] {
			return r.Errorf("%s without %s", what, known[i].name)
		}
	}
	return nil
}

func members(r *strictjson.Reader, known []field, seen []bool) error {
	return r.Object(func(key []byte) error {
		for i := range known {
			if string(key) != known[i].name {
				continue
			}
			if seen[i] {
				return r.Errorf("%s twice", known[i].name)
			}
			seen[i] = true
			return known[i].read(r)
		}
		return r.Skip()
	})
}

func elements(r *strictjson.Reader, what string, known []field, seen []bool, tagged bool) error {
	next := 0
	if tagged {
		next = -1
	}
	return r.Array(func() error {
		i := next
		next++
		switch {
		case i < 0:
			return r.Skip()
		case i >= len(known):
			return r.Errorf("%s with more than %d elements", what, len(known))
		}
		seen[i] = true
		return known[i].read(r)
	})
}

func text(to *string) func(r *strictjson.Reader) error {
	return func(r *strictjson.Reader) (err error) {
		*to, err = r.String()
		return err
	}
}

// optional returns a reader of a value or null.
func optional[T any](to **T, read func(*strictjson.Reader) (T, error)) func(r *strictjson.Reader) error {
	return func(r *strictjson.Reader) error {
		if r.Peek() == 'n' && r.Literal("null") {
			return nil
		}
		v, err := read(r)
		*to = &v
		return err
	}
}

func list[T any](to *[]T, read func(*strictjson.Reader) (T, error)) func(r *strictjson.Reader) error {
	return func(r *strictjson.Reader) error {
		*to = []T{}
		return r.Array(func() error {
			v, err := read(r)
			*to = append(*to, v)
			return err
		})
	}
}

// parseEvent reads an event. Its tag may stand anywhere, and decides which keys
// are known, so it is looked for first.
func parseEvent(r *strictjson.Reader) (Event, error) {
	ahead := *r
	tag, err := eventTag(&ahead)
	if err != nil {
		return Event{}, err
	}
	var e Event
	hashes := field{"block_hashes", true, list(&e.Hashes, (*strictjson.Reader).String)}
	medium := field{"medium", false, optional(&e.Medium, (*strictjson.Reader).String)}
	group := field{"group_idx", false, optional(&e.Group, (*strictjson.Reader).Uint32)}
	var known []field
	switch tag {
	case Stored.String():
		e.Kind, e.TokenIDs = Stored, []uint32{}
		known = []field{
			hashes,
			{"parent_block_hash", false, optional(&e.Parent, (*strictjson.Reader).String)},
			{"token_ids", false, list(&e.TokenIDs, (*strictjson.Reader).Uint32)},
			{"block_size", true, func(r *strictjson.Reader) (err error) { e.BlockSize, err = r.Uint32(); return err }},
			medium,
			{"lora_name", false, optional(&e.LoRA, (*strictjson.Reader).String)},
			group,
			{"bytes_per_block", false, optional(&e.BytesPerBlock, (*strictjson.Reader).Uint64)},
		}
	case Removed.String():
		e.Kind, known = Removed, []field{hashes, medium, group}
	case Cleared.String():
		e.Kind = Cleared
	default:
		return Event{}, r.Errorf("unknown event %q", tag)
	}
	// e is shared with the readers above: return it after they have run.
	err = fields(r, tag, known, true)
	return e, err
}

func eventTag(r *strictjson.Reader) (string, error) {
	var tag string
	seen := false
	read := func() (err error) {
		if seen {
			return r.Errorf("event with two types")
		}
		seen = true
		tag, err = r.String()
		return err
	}
	var err error
	if r.Peek() == '[' {
		err = r.Array(func() error {
			if seen {
				return r.Skip()
			}
			return read()
		})
	} else {
		err = r.Object(func(key []byte) error {
			if string(key) == "type" {
				return read()
			}
			return r.Skip()
		})
	}
	if err == nil && !seen {
		err = r.Errorf("event without a type")
	}
	return tag, err
}
