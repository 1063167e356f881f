package index

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
)

// The documents are QuillCache's, byte for byte:
//
//	{"key":{"model_id":"m","tokenizer_id":"t","adapter_id":null,"tenant_id":"x","prefix_hash":"root","block_hash":"b0","block_index":0,
//	"token_count":64},"worker_id":"w0","tier":"Hbm","bytes":1024,"last_access_ms":0,"ref_count":0,"pinned":false}
//
// in one line, with two members that it does not have, at the end of an object
// and only where they are needed:
//
//	"kv_group":3                       of a key: the group, unless it is 0
//	"base64":{"block_hash":"/w=="}     of a scope, key or record: the strings of this very object that are not UTF-8
//
// Such a string has U+FFFD for each run of invalid bytes in its own place. A
// reader that does not know of base64 sees that, ours takes the bytes, and
// refuses those that do not give the text.

// field is a member of the documents.
type field uint8

const (
	modelField field = iota
	tokenizerField
	adapterField
	tenantField
	prefixField
	hashField
	indexField
	tokensField
	groupField
	keyField
	workerField
	tierField
	bytesField
	accessField
	refsField
	pinnedField
	base64Field
	fields
)

var fieldNames = [fields]string{
	"model_id", "tokenizer_id", "adapter_id", "tenant_id", "prefix_hash", "block_hash", "block_index", "token_count", "kv_group",
	"key", "worker_id", "tier", "bytes", "last_access_ms", "ref_count", "pinned", "base64",
}

// AppendJSON appends the scope's document.
func (s *Scope) AppendJSON(dst []byte) []byte {
	r := Record{Key: Key{Scope: *s}}
	dst = r.appendScope(append(dst, '{'))
	return append(r.appendBase64(dst, modelField, tenantField), '}')
}

// AppendJSON appends the key's document.
func (k *Key) AppendJSON(dst []byte) []byte {
	r := Record{Key: *k}
	return r.appendKey(dst)
}

// AppendJSON appends the record's document, without a line feed.
func (r *Record) AppendJSON(dst []byte) []byte {
	dst = r.appendKey(append(dst, `{"key":`...))
	dst = appendText(append(dst, `,"worker_id":`...), r.Worker)
	dst = append(append(append(dst, `,"tier":"`...), r.Tier.Variant()...), '"')
	dst = strconv.AppendUint(append(dst, `,"bytes":`...), r.Bytes, 10)
	dst = strconv.AppendUint(append(dst, `,"last_access_ms":`...), r.LastAccess, 10)
	dst = strconv.AppendUint(append(dst, `,"ref_count":`...), uint64(r.Refs), 10)
	dst = strconv.AppendBool(append(dst, `,"pinned":`...), r.Pinned)
	return append(r.appendBase64(dst, workerField, workerField), '}')
}

func (r *Record) appendKey(dst []byte) []byte {
	dst = r.appendScope(append(dst, '{'))
	dst = appendText(append(dst, `,"prefix_hash":`...), r.Prefix)
	dst = appendText(append(dst, `,"block_hash":`...), r.Hash)
	dst = strconv.AppendUint(append(dst, `,"block_index":`...), uint64(r.Index), 10)
	dst = strconv.AppendUint(append(dst, `,"token_count":`...), uint64(r.Tokens), 10)
	if r.Group != 0 {
		dst = strconv.AppendUint(append(dst, `,"kv_group":`...), uint64(r.Group), 10)
	}
	return append(r.appendBase64(dst, modelField, hashField), '}')
}

func (r *Record) appendScope(dst []byte) []byte {
	dst = appendText(append(dst, `"model_id":`...), r.Model)
	dst = appendText(append(dst, `,"tokenizer_id":`...), r.Tokenizer)
	dst = append(dst, `,"adapter_id":`...)
	if name, ok := r.Adapter.Name(); ok {
		dst = appendText(dst, name)
	} else {
		dst = append(dst, "null"...)
	}
	return appendText(append(dst, `,"tenant_id":`...), r.Tenant)
}

// appendBase64 appends the member for those of some fields that are not UTF-8.
func (r *Record) appendBase64(dst []byte, first, last field) []byte {
	some := false
	for f := first; f <= last; f++ {
		s := r.text(f)
		if utf8.ValidString(s) {
			continue
		}
		if some {
			dst = append(dst, ',')
		} else {
			dst = append(dst, `,"base64":{`...)
		}
		some = true
		dst = append(append(append(dst, '"'), fieldNames[f]...), `":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, []byte(s)), '"')
	}
	if some {
		dst = append(dst, '}')
	}
	return dst
}

func appendText(dst []byte, s string) []byte { return strictjson.AppendString(dst, readable(s)) }

// readable returns s with U+FFFD for what is not UTF-8.
func readable(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// text returns the string in a field, "" of one that has none.
func (r *Record) text(f field) string {
	if f == adapterField {
		return r.Adapter.name
	}
	if p := r.textAt(f); p != nil {
		return *p
	}
	return ""
}

// textAt returns where a field's string is, nil of one that has none. The
// adapter's may be absent and is not among them.
func (r *Record) textAt(f field) *string {
	switch f {
	case modelField:
		return &r.Model
	case tokenizerField:
		return &r.Tokenizer
	case tenantField:
		return &r.Tenant
	case prefixField:
		return &r.Prefix
	case hashField:
		return &r.Hash
	case workerField:
		return &r.Worker
	}
	return nil
}
