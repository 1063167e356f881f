package wire_test

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// stored is an entry that was read from a store that the original wrote.
type stored struct {
	Key, Value string
	Bytes      int
}

func vectors(t *testing.T) []stored {
	t.Helper()
	file, err := os.Open("testdata/index-vectors-keys.jsonl.gz")
	require.NoError(t, err)
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	var all []stored
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var s stored
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		if s.Key != "" {
			all = append(all, s)
		}
	}
	require.NoError(t, z.Close())
	require.NoError(t, file.Close())
	return all
}

// document is the part of a record's JSON that keys have.
type document struct {
	Key struct {
		Model   string  `json:"model_id"`
		Token   string  `json:"tokenizer_id"`
		Adapter *string `json:"adapter_id"`
		Tenant  string  `json:"tenant_id"`
		Prefix  string  `json:"prefix_hash"`
		Hash    string  `json:"block_hash"`
		Index   uint32  `json:"block_index"`
	}
	Worker string `json:"worker_id"`
	Tier   string
}

func (d *document) record(t *testing.T) index.Record {
	t.Helper()
	r := index.Record{Key: index.Key{Scope: index.Scope{Model: d.Key.Model, Tokenizer: d.Key.Token, Tenant: d.Key.Tenant}, Prefix: d.Key.Prefix, Hash: d.Key.Hash, Index: d.Key.Index}, Worker: d.Worker}
	if d.Key.Adapter != nil {
		r.Adapter = index.Named(*d.Key.Adapter)
	}
	var err error
	r.Tier, err = index.ParseVariant(d.Tier)
	require.NoError(t, err)
	return r
}

// TestOriginal: the keys of a store that the original wrote are those that are
// written for its records, and are read as them.
func TestOriginal(t *testing.T) {
	t.Parallel()
	firsts, seconds := map[string]index.Record{}, 0
	all := vectors(t)
	for _, s := range all {
		if s.Key[:2] != "01" {
			continue
		}
		var d document
		require.NoError(t, json.Unmarshal([]byte(s.Value), &d))
		r := d.record(t)
		key, err := wire.Original{}.AppendPrimary(nil, &r)
		require.NoError(t, err)
		require.Equal(t, s.Key, hex.EncodeToString(key))
		require.Len(t, key, s.Bytes)
		var got index.Record
		require.NoError(t, wire.Original{}.ParsePrimary(key, &got))
		require.Equal(t, r, got)
		firsts[s.Key] = r
	}
	for _, s := range all {
		if s.Key[:2] != "02" {
			continue
		}
		r, ok := firsts[s.Value]
		require.True(t, ok, "its value is a first key")
		key, err := wire.Original{}.AppendSecondary(nil, &r)
		require.NoError(t, err)
		require.Equal(t, s.Key, hex.EncodeToString(key))
		var got index.Record
		require.NoError(t, wire.Original{}.ParseSecondary(key, &got))
		require.Equal(t, r, got)
		seconds++
	}
	require.Equal(t, []int{2, 2}, []int{len(firsts), seconds})
}

// TestOriginalNUL: the original confuses records with NUL in a field; nothing is
// written for them.
func TestOriginalNUL(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*index.Record){
		func(r *index.Record) { r.Model = "m\x00t" },
		func(r *index.Record) { r.Tokenizer = "\x00" },
		func(r *index.Record) { r.Adapter = index.Named("a\x00evil") },
		func(r *index.Record) { r.Tenant = "x\x00root" },
		func(r *index.Record) { r.Prefix = "\x00" },
		func(r *index.Record) { r.Hash = "\x00" },
		func(r *index.Record) { r.Worker = "\x00" },
	} {
		r := drawn()
		change(&r)
		_, err := wire.Original{}.AppendPrimary(nil, &r)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		_, err = wire.Original{}.AppendSecondary(nil, &r)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}
