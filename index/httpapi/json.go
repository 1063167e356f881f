package httpapi

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/index"
)

// text is a member of an object.
type text struct{ name, value string }

// appendText appends "name":"value", with U+FFFD for what is not UTF-8.
func appendText(b []byte, t text) []byte {
	b = append(b, '"')
	b = append(b, t.name...)
	b = append(b, `":`...)
	return strictjson.AppendString(b, strings.ToValidUTF8(t.value, "\uFFFD"))
}

// appendBase64 appends the member that has the very bytes of those texts of an
// object that are not UTF-8, as in the documents of records.
func appendBase64(b []byte, ts ...text) []byte {
	some := false
	for _, t := range ts {
		if utf8.ValidString(t.value) {
			continue
		}
		if some {
			b = append(b, ',')
		} else {
			b = append(b, `,"base64":{`...)
		}
		some = true
		b = append(b, '"')
		b = append(b, t.name...)
		b = append(b, `":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, []byte(t.value)), '"')
	}
	if some {
		b = append(b, '}')
	}
	return b
}

// appendInfo appends what an index is, without braces.
func appendInfo(b []byte, i index.Info, m *index.Metrics) []byte {
	b = append(b, `"backend":"`...)
	b = append(b, i.Name...)
	b = append(b, `","persistent":`...)
	b = strconv.AppendBool(b, i.Persistent)
	b = append(b, `,"shared":`...)
	b = strconv.AppendBool(b, i.Shared)
	b = append(b, `,"rules":"`...)
	b = append(b, i.Rules.String()...)
	b = append(b, `","newest":`...)
	return strconv.AppendUint(b, m.Seq, 10)
}

// appendMetrics appends an object: the six counts of the original, then ours.
func appendMetrics(b []byte, m *index.Metrics) []byte {
	for i, v := range [...]struct {
		name string
		n    uint64
	}{
		{"resident_blocks", m.ResidentBlocks}, {"resident_bytes", m.ResidentBytes}, {"puts", m.Puts},
		{"removes", m.Removes}, {"prefix_scans", m.PrefixScans}, {"bytes_written", m.BytesWritten},
		{"stale_blocks", m.StaleBlocks}, {"locates", m.Locates}, {"matches", m.Matches},
		{"cleared", m.Cleared}, {"expired", m.Expired}, {"workers", m.Workers}, {"seq", m.Seq},
	} {
		if i == 0 {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, v.name...)
		b = append(b, `":`...)
		b = strconv.AppendUint(b, v.n, 10)
	}
	return append(b, '}')
}

func appendWorkers(b []byte, ws []index.Worker) []byte {
	b = append(b, '[')
	for i := range ws {
		if i > 0 {
			b = append(b, ',')
		}
		name := text{"worker_id", ws[i].Name}
		b = appendText(append(b, '{'), name)
		b = append(b, `,"incarnation":`...)
		b = strconv.AppendUint(b, ws[i].Incarnation, 10)
		b = append(b, `,"stale":`...)
		b = strconv.AppendBool(b, ws[i].Stale)
		b = append(b, `,"resident_blocks":`...)
		b = strconv.AppendUint(b, ws[i].Blocks, 10)
		b = append(appendBase64(b, name), '}')
	}
	return append(b, ']')
}

// AppendChange appends a change as one JSON object without line ends: seq and
// kind, and by kind records, removals, worker_id, before_ms, incarnation, gone.
func AppendChange(b []byte, c *index.Change) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, c.Seq, 10)
	b = append(b, `,"kind":"`...)
	b = append(b, c.Kind.String()...)
	b = append(b, '"')
	worker := text{"worker_id", c.Worker}
	switch c.Kind {
	case index.DidPut:
		b = appendRecords(b, c.Records)
	case index.DidRemove:
		b = appendRemovals(b, c.Removals)
	case index.DidClearWorker:
		b = appendBase64(appendText(append(b, ','), worker), worker)
	case index.DidClear:
	case index.DidExpire:
		b = append(b, `,"before_ms":`...)
		b = strconv.AppendUint(b, c.Before, 10)
	case index.DidAnnounce:
		b = appendText(append(b, ','), worker)
		b = append(b, `,"incarnation":`...)
		b = strconv.AppendUint(b, c.Incarnation, 10)
		b = append(b, `,"gone":`...)
		b = strconv.AppendBool(b, c.Gone)
		b = appendBase64(appendRecords(b, c.Records), worker)
	}
	return append(b, '}')
}

func appendRecords(b []byte, rs []index.Record) []byte {
	b = append(b, `,"records":[`...)
	for i := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = rs[i].AppendJSON(b)
	}
	return append(b, ']')
}

func appendRemovals(b []byte, rs []index.Removal) []byte {
	b = append(b, `,"removals":[`...)
	for i := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendRemoval(b, &rs[i])
	}
	return append(b, ']')
}

// appendRemoval appends what a removal selects: of what it does not look at,
// nothing.
func appendRemoval(b []byte, r *index.Removal) []byte {
	worker, hash := text{"worker_id", r.Worker}, text{"block_hash", r.Hash}
	b = append(b, `{"scope":`...)
	b = r.Scope.AppendJSON(b)
	if r.AnyAdapter {
		b = append(b, `,"any_adapter":true`...)
	}
	b = appendText(append(b, ','), worker)
	b = appendText(append(b, ','), hash)
	if r.Tier != 0 {
		b = append(b, `,"tier":"`...)
		b = append(b, r.Tier.Variant()...)
		b = append(b, '"')
	}
	if r.OneGroup {
		b = append(b, `,"kv_group":`...)
		b = strconv.AppendUint(b, uint64(r.Group), 10)
	}
	return append(appendBase64(b, worker, hash), '}')
}
