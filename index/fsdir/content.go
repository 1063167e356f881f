package fsdir

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// maxFileBytes is more than a record with the longest fields takes.
const maxFileBytes = 64 << 20

// seal appends the second line to a document.
func seal(document []byte) []byte {
	document = append(document, '\n')
	return fmt.Appendf(document, `{"crc32c":"%08x"}`+"\n", crc32.Checksum(document, crc32.MakeTable(crc32.Castagnoli)))
}

// unseal returns the document in a file.
func unseal(file []byte) ([]byte, error) {
	end := bytes.IndexByte(file, '\n')
	if end < 0 || !bytes.Equal(seal(bytes.Clone(file[:end])), file) {
		return nil, fmt.Errorf("is torn or was changed: %w", kvferry.ErrCorrupt)
	}
	return file[:end], nil
}

// parseRecord reads the file of a record.
func parseRecord(file []byte) (index.Record, error) {
	document, err := unseal(file)
	if err != nil {
		return index.Record{}, err
	}
	r, err := index.ParseRecord(document)
	if err == nil {
		err = r.Check()
	}
	if err != nil {
		return r, fmt.Errorf("is no record: %w: %w", kvferry.ErrCorrupt, err)
	}
	return r, nil
}

// announced is the document of a worker.
type announced struct {
	Worker      string `json:"worker_id"`
	Base64      string `json:"worker_base64,omitempty"` // of the name if it is not UTF-8
	Incarnation uint64 `json:"incarnation"`
}

func workerFile(name string, incarnation uint64) ([]byte, error) {
	a := announced{Worker: name, Incarnation: incarnation}
	if !utf8.ValidString(name) {
		a.Base64 = base64.StdEncoding.EncodeToString([]byte(name))
	}
	document, err := json.Marshal(a)
	return seal(document), err
}

func parseWorker(file []byte) (name string, incarnation uint64, err error) {
	document, err := unseal(file)
	if err != nil {
		return "", 0, err
	}
	var a announced
	err = json.Unmarshal(document, &a)
	name = a.Worker
	if a.Base64 != "" && err == nil {
		var b []byte
		b, err = base64.StdEncoding.DecodeString(a.Base64)
		name = string(b)
	}
	if err != nil || a.Incarnation == 0 || len(name) > index.MaxFieldBytes {
		return "", 0, fmt.Errorf("is no worker: %w", errors.Join(kvferry.ErrCorrupt, err))
	}
	return name, a.Incarnation, nil
}

// newest is the document of the sequence.
type newest struct {
	Change uint64 `json:"newest_change"`
	Closed bool   `json:"closed,omitempty"` // and all is durable
}

func sequenceFile(n newest) ([]byte, error) {
	document, err := json.Marshal(n)
	return seal(document), err
}

func parseSequence(file []byte) (newest, error) {
	var n newest
	document, err := unseal(file)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(document, &n); err != nil {
		return n, fmt.Errorf("is no sequence: %w: %w", kvferry.ErrCorrupt, err)
	}
	return n, nil
}

// read returns what is in a file.
func read(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var b []byte
	if err == nil && info.Size > maxFileBytes {
		err = fmt.Errorf("has %d bytes: %w", info.Size, kvferry.ErrCorrupt)
	}
	if err == nil {
		b = make([]byte, info.Size)
		var n int
		if n, err = f.ReadAt(b, 0); errors.Is(err, io.EOF) && n == len(b) {
			err = nil
		}
		b = b[:n]
	}
	return b, errors.Join(err, f.Close())
}
