package redis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// ruled is an index without a server, for what it makes of bytes.
func ruled(r index.Rules) *Index {
	return &Index{o: Options{Options: index.Options{Rules: r}}, single: true}
}

func sample() index.Record {
	return index.Record{
		Key: index.Key{
			Scope:  index.Scope{Model: "m", Tokenizer: "t\x00", Adapter: index.Named("a"), Tenant: "}{"},
			Prefix: strings.Repeat("p", 64), Hash: "h", Index: 7, Group: 3, Tokens: 16,
		},
		Worker: "w\x00\xff", Tier: index.RemoteHBM, Bytes: 1<<63 + 5, LastAccess: 9, Refs: 2, Pinned: true,
	}
}

// TestLayout holds the bytes that the package comment draws.
func TestLayout(t *testing.T) {
	x, r := ruled(index.Recommended), sample()
	require.Equal(t, "R\x05\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00\x00w\x00\xfe\x02\xff", string(x.appendKey(nil, &r)))
	require.Equal(t, "V\x00\x00\x00\x10\x80\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x02\x03\xff", string(appendValue(nil, &r)))
	r.Worker = ""
	require.Equal(t, "R\x05\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00\x10\xff", string(ruled(index.AsMemory).appendKey(nil, &r)))

	id := newScopeID(r.Scope)
	require.Equal(t, "\x00\x00\x00\x01m\x00\x00\x00\x02t\x00\x00\x00\x00\x02}{\x01\x00\x00\x00\x01a", id.stored[digestLen:])
	require.Len(t, id.digest, digestLen)
	require.Equal(t, id.group, id.stored[:digestLen])
	none := r.Scope
	none.Adapter = index.Adapter{}
	require.Equal(t, id.group, newScopeID(none).group)
	require.NotEqual(t, id.digest, newScopeID(none).digest)
}

// stored is a block with one record.
func (x *Index) stored(r *index.Record) string {
	b := append([]byte{mark, tagChild, 'c', mark, tagParent}, escaped(r.Prefix)...)
	return string(appendValue(x.appendKey(append(b, mark), r), r))
}

// TestRoundTrip: what is stored of a record gives it back, under all rules.
func TestRoundTrip(t *testing.T) {
	for _, rules := range []index.Rules{index.Recommended, index.AsMemory, index.AsHolt} {
		for _, prefix := range []string{"", index.Root, "\xff", "\xfe\x01\xff\x00", strings.Repeat("x", 100)} {
			for _, adapter := range []index.Adapter{{}, index.Named(""), index.Named("a")} {
				x, r := ruled(rules), sample()
				r.Prefix, r.Adapter, r.Bytes, r.Group = prefix, adapter, 1<<64-1, 1<<32-1
				id := x.scope(&r.Scope)
				got, err := x.block(&id.Scope, r.Hash, x.stored(&r), nil, func(*index.Record) bool { return true })
				require.NoError(t, err)
				require.Equal(t, []index.Record{r}, got)
			}
		}
	}
}

func TestEscape(t *testing.T) {
	for _, s := range []string{"", "a", "\xff", "\xfe", "\xfe\x01", "\xff\xfe\x02x", strings.Repeat("\xff", 100)} {
		e := escaped(s)
		require.NotContains(t, e, "\xff")
		got, err := unescape(e)
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	for _, bad := range []string{"\xff", "\xfe", "a\xfe\x03", "\xfe\xfe"} {
		_, err := unescape(bad)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	}
	require.Equal(t, []string{"a", "\xfe\x02", "b", "\xfe\x01"}, escapedAll([]string{"a", "\xff", "b", "\xfe"}))
}

// FuzzBlock: any bytes of a block give records that are stored as just these, or
// ErrCorrupt.
func FuzzBlock(f *testing.F) {
	r := sample()
	f.Add(ruled(index.Recommended).stored(&r), byte(0))
	r.Prefix = "root"
	f.Add(ruled(index.AsMemory).stored(&r), byte(1))
	f.Add("\xffS\xff", byte(2))
	f.Add("", byte(0))
	f.Fuzz(func(t *testing.T, block string, rules byte) {
		x := ruled(index.Rules(rules % 3))
		s := sample().Scope
		rs, err := x.block(&s, "h", block, nil, func(*index.Record) bool { return true })
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		again := "\xff"
		for i := range rs {
			require.NoError(t, rs[i].Check())
			if i == 0 || rs[i].Prefix != rs[i-1].Prefix {
				again += "P" + escaped(rs[i].Prefix) + "\xff"
			}
			again += string(appendValue(x.appendKey(nil, &rs[i]), &rs[i]))
		}
		require.True(t, len(rs) == 0 || strings.HasSuffix(block, again) || strings.Count(block, "\xffP") > 1, "%q: %q", block, again)
	})
}

// FuzzScope: a stored scope is what its digest names, or ErrCorrupt.
func FuzzScope(f *testing.F) {
	f.Add(newScopeID(sample().Scope).stored)
	f.Add(newScopeID(index.Scope{}).stored)
	f.Fuzz(func(t *testing.T, stored string) {
		id, err := scopeOf(stored, "")
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		require.Equal(t, stored, id.stored)
		_, err = scopeOf(stored, "x"+id.digest[1:])
		if id.digest[0] != 'x' {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
		}
	})
}

// FuzzChange: a change that a script kept is read, or ErrCorrupt.
func FuzzChange(f *testing.F) {
	x, r := ruled(index.Recommended), sample()
	x.o.Prefix, x.history = "p", "1"
	pack := func(fields []string) string {
		b := []byte{0xdc, byte(len(fields) >> 8), byte(len(fields))}
		for _, s := range fields {
			b = append(append(b, 0xda, byte(len(s)>>8), byte(len(s))), s...)
		}
		return string(b)
	}
	id := x.scope(&r.Scope)
	f.Add("put", pack(x.putArgs([]index.Record{r, r}, nil)))
	f.Add("remove", pack(removalArgs(x.args(0), &index.Removal{Scope: r.Scope, Worker: "w", Hash: "h\xff", Tier: index.HBM, OneGroup: true}, "", id)))
	f.Add("announce", "\x93\xa1w\xd9\x011\xa0")
	f.Add("clear_worker", "\x91\xa1w")
	f.Add("expire", "\x91\xa8\x00\x00\x00\x00\x00\x00\x00\x01")
	f.Add("clear", "\x91\xa0")
	f.Fuzz(func(t *testing.T, kind, what string) {
		fields, err := unpack(what)
		if err == nil {
			var c *index.Change
			if c, err = x.parseChange(kind, fields); err == nil {
				require.Equal(t, kind, c.Kind.String())
				for i := range c.Records {
					require.NoError(t, c.Records[i].Check())
				}
				return
			}
		}
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	})
}

func TestUnpack(t *testing.T) {
	got, err := unpack("\xdd\x00\x00\x00\x03\xd9\x01a\xda\x00\x01b\xdb\x00\x00\x00\x01c")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, got)
	for _, bad := range []string{"", "\x91", "\x91\xc0", "\x91\xa2x", "\x90x", "\xdd\xff\xff\xff\xff", "\x91\xdb\xff\xff\xff\xffx"} {
		_, err := unpack(bad)
		require.ErrorIs(t, err, kvferry.ErrCorrupt, "%q", bad)
	}
}

func TestPortion(t *testing.T) {
	big := func(int) int { return maxStepBytes }
	small := func(int) int { return 1 }
	require.Equal(t, 0, portion(0, 9, big))
	require.Equal(t, 1, portion(5, 9, big))
	require.Equal(t, 5, portion(5, 9, small))
	require.Equal(t, 9, portion(50, 9, small))
	require.Equal(t, 4, portion(5, 9, func(int) int { return maxStepBytes / 4 }))
}

func TestServers(t *testing.T) {
	require.NoError(t, checkInfo("# Server\r\nredis_version:7.0.15\r\nmaxmemory_policy:volatile-lru\r\n"))
	require.NoError(t, checkInfo(""))
	require.ErrorIs(t, checkInfo("redis_version:6.2.1\r\n"), kvferry.ErrUnsupported)
	require.ErrorIs(t, checkInfo("redis_version:7.0.15\r\nmaxmemory_policy:allkeys-lfu\r\n"), kvferry.ErrInvalid)
}
