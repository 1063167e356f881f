package tiered

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// The kinds of changes.
const (
	changeCommit = "commit"
	changeName   = "name"
	changeRemove = "remove"
	changeDrop   = "drop"
)

// change is one change of the catalog that far does not have yet.
type change struct {
	kind  string
	root  digest.Digest // of changeRemove the snapshot that goes with its last name, if it does
	bytes int64         // of changeCommit: what the bound of the queue counts
	names []string      // of changeCommit any number, sorted; of changeName and changeRemove one

	seq uint64 // in the queue; the name of its file
}

const (
	changeMagic = "kvferry queue 1\n"
	// maxChangeBytes bounds a change's file, which has room for 8,000 names.
	maxChangeBytes = 1 << 20
)

// encode returns the bytes of the change's file.
func (c *change) encode() []byte {
	b := []byte(changeMagic)
	b = fmt.Appendf(b, "change %s\n", c.kind)
	if c.root.Valid() {
		b = fmt.Appendf(b, "root %v\n", c.root)
	}
	if c.kind == changeCommit {
		b = fmt.Appendf(b, "bytes %d\n", c.bytes)
	}
	for _, name := range c.names {
		b = fmt.Appendf(b, "name %s\n", name)
	}
	return fmt.Appendf(b, "sum %s\n", sumOf(b).Hex())
}

func sumOf(b []byte) digest.Digest {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err) // without a key it cannot fail
	}
	return h.Sum(b)
}

// decodeChange reads a change's file. What encode would not write is
// ErrCorrupt, and another version ErrUnsupported.
func decodeChange(b []byte) (*change, error) {
	bad := func(why string) (*change, error) {
		return nil, fmt.Errorf("tiered: queued change: %s: %w", why, kvferry.ErrCorrupt)
	}
	if len(b) > maxChangeBytes {
		return bad("too long")
	}
	at := bytes.LastIndex(b, []byte("\nsum "))
	if at < 0 || string(b[at+1:]) != "sum "+sumOf(b[:at+1]).Hex()+"\n" {
		return bad("its sum does not hold")
	}
	text, ok := strings.CutPrefix(string(b[:at+1]), changeMagic)
	if !ok {
		if version, _, is := strings.Cut(string(b), "\n"); is && strings.HasPrefix(version, "kvferry queue ") {
			return nil, fmt.Errorf("tiered: queued change: %.40q: %w", version, kvferry.ErrUnsupported)
		}
		return bad("no change")
	}
	c := &change{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := c.set(key, value); err != nil {
			return nil, fmt.Errorf("tiered: queued change: %.40q: %w: %w", line, kvferry.ErrCorrupt, err)
		}
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("tiered: queued change: %w: %w", kvferry.ErrCorrupt, err)
	}
	if !bytes.Equal(c.encode(), b) { // order, repetition, another spelling
		return bad("not as it is written")
	}
	return c, nil
}

func (c *change) set(key, value string) (err error) {
	switch key {
	case "change":
		c.kind = value
	case "root":
		c.root, err = digest.Parse(value)
	case "bytes":
		c.bytes, err = strconv.ParseInt(value, 10, 64)
	case "name":
		c.names = append(c.names, value)
	default:
		err = fmt.Errorf("unknown key: %w", kvferry.ErrInvalid)
	}
	return err
}

// check returns ErrInvalid unless the change can be written.
func (c *change) check() error {
	invalid := func(why string) error {
		return fmt.Errorf("tiered: change %.20q of %v: %s: %w", c.kind, c.root, why, kvferry.ErrInvalid)
	}
	size := 300
	for i, name := range c.names {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		if i > 0 && c.names[i-1] >= name {
			return invalid("names out of order")
		}
		size += len("name \n") + len(name)
	}
	one, root := len(c.names) == 1, c.root.Valid()
	switch c.kind {
	case changeCommit:
		if !root || c.bytes < 0 || size > maxChangeBytes {
			return invalid("no root, negative bytes, or too many names")
		}
	case changeName:
		if !root || !one {
			return invalid("wants a root and a name")
		}
	case changeRemove:
		if !one {
			return invalid("wants a name")
		}
	case changeDrop:
		if !root || len(c.names) > 0 {
			return invalid("wants a root")
		}
	default:
		return invalid("unknown kind")
	}
	return nil
}

// sorted returns the names sorted, each once.
func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
