//go:build unix

package dir

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

const (
	recordMax    = 4096 // bytes of a snapshot or name file
	snapshotKind = "kvferry snapshot 1"
	nameKind     = "kvferry name 1"
	timeFormat   = "2006-01-02T15:04:05.000000000Z"
)

// encodeRecord returns the lines of a record and the line with their sum.
func encodeRecord(kind string, fields ...string) []byte {
	b := []byte(kind + "\n")
	for i := 0; i < len(fields); i += 2 {
		b = append(b, fields[i]+" "+fields[i+1]+"\n"...)
	}
	return append(b, "sum "+recordSum(b)+"\n"...)
}

func recordSum(b []byte) string {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic("dir: unkeyed hasher: " + err.Error())
	}
	return h.Sum(b).Hex()
}

// decodeRecord returns the values of a record with exactly the given keys.
func decodeRecord(b []byte, kind string, keys ...string) ([]string, error) {
	bad := func(why string) ([]string, error) {
		return nil, fmt.Errorf("dir: record %s: %w", why, kvferry.ErrCorrupt)
	}
	i := bytes.LastIndex(b, []byte("\nsum "))
	if i < 0 || string(b[i+1:]) != "sum "+recordSum(b[:i+1])+"\n" {
		return bad("checksum")
	}
	lines := strings.Split(string(b[:i]), "\n")
	if lines[0] != kind {
		if strings.HasPrefix(lines[0], kind[:len(kind)-1]) {
			return nil, fmt.Errorf("dir: record %.80q: %w", lines[0], kvferry.ErrUnsupported)
		}
		return bad("kind")
	}
	if len(lines) != 1+len(keys) {
		return bad("fields")
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		value, ok := strings.CutPrefix(lines[1+i], key+" ")
		if !ok {
			return bad("field " + key)
		}
		values[i] = value
	}
	return values, nil
}

// encodeEntry returns the file of a snapshot.
func encodeEntry(e cas.Entry) []byte {
	fields := []string{
		"root", e.Root.String(),
		"format", string(e.Format),
		"created", e.Created.UTC().Format(timeFormat),
		"pages", strconv.FormatInt(e.Pages, 10),
		"sequences", strconv.FormatInt(e.Sequences, 10),
		"bytes", strconv.FormatInt(e.Bytes, 10),
	}
	if e.Image.Valid() {
		fields = append(fields, "image", e.Image.String())
	}
	return encodeRecord(snapshotKind, fields...)
}

// decodeEntry reads the file of the snapshot root. Whatever encodeEntry would
// not have written is ErrCorrupt.
func decodeEntry(b []byte, root digest.Digest) (cas.Entry, error) {
	keys := []string{"root", "format", "created", "pages", "sequences", "bytes"}
	if bytes.Contains(b, []byte("\nimage ")) {
		keys = append(keys, "image")
	}
	v, err := decodeRecord(b, snapshotKind, keys...)
	if err != nil {
		return cas.Entry{}, err
	}
	e := cas.Entry{Root: root, Format: cas.Format(v[1])}
	e.Created, err = time.Parse(timeFormat, v[2])
	for i, n := range []*int64{&e.Pages, &e.Sequences, &e.Bytes} {
		if err == nil {
			*n, err = strconv.ParseInt(v[3+i], 10, 64)
		}
	}
	if err == nil && len(v) > 6 {
		e.Image, err = digest.Parse(v[6])
	}
	if err != nil || checkEntry(e) != nil || !bytes.Equal(encodeEntry(e), b) {
		return cas.Entry{}, fmt.Errorf("dir: snapshot file of %v: %w", root, kvferry.ErrCorrupt)
	}
	return e, nil
}

// checkEntry returns ErrInvalid for what cannot be recorded.
func checkEntry(e cas.Entry) error {
	if y := e.Created.UTC().Year(); !e.Root.Valid() || !e.Format.Valid() || y < 0 || y > 9999 ||
		e.Pages < 0 || e.Sequences < 0 || e.Bytes < 0 || e.Image.Valid() && e.Image.Algorithm() != digest.SHA256 {
		return fmt.Errorf("dir: entry %+v: %w", e, kvferry.ErrInvalid)
	}
	for _, name := range e.Names {
		if err := cas.CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// encodeName returns the file of a name.
func encodeName(name string, root digest.Digest) []byte {
	return encodeRecord(nameKind, "name", name, "root", root.String())
}

// decodeName reads the file of the given name.
func decodeName(b []byte, name string) (digest.Digest, error) {
	v, err := decodeRecord(b, nameKind, "name", "root")
	if err != nil {
		return digest.Digest{}, err
	}
	root, err := digest.Parse(v[1])
	if err != nil || v[0] != name {
		return digest.Digest{}, fmt.Errorf("dir: name file of %s: %w", name, kvferry.ErrCorrupt)
	}
	return root, nil
}
