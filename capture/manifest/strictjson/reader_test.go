package strictjson_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest/strictjson"
)

// whole skips data as one document.
func whole(data []byte) error {
	r := strictjson.NewReader(data)
	if err := r.Skip(); err != nil {
		return err
	}
	return r.End()
}

func TestObjectsAndArrays(t *testing.T) {
	t.Parallel()
	r := strictjson.NewReader([]byte(" { \"a\" : [ 1 , 2,3 ] , \"\\u0062\" : { } } "))
	var keys []string
	var numbers []uint32
	require.NoError(t, r.Object(func(key []byte) error {
		keys = append(keys, string(key))
		if r.Peek() == '{' {
			return r.Object(func([]byte) error { t.Error("member of an empty object"); return nil })
		}
		return r.Array(func() error {
			v, err := r.Uint32()
			numbers = append(numbers, v)
			return err
		})
	}))
	require.NoError(t, r.End())
	require.Equal(t, []string{"a", "b"}, keys)
	require.Equal(t, []uint32{1, 2, 3}, numbers)
	require.Zero(t, r.Rest())
}

func TestUint32(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{"0": 0, " 7": 7, "4294967295": math.MaxUint32, "10,": 10, "5]": 5} {
		got, err := strictjson.NewReader([]byte(text)).Uint32()
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "-1", "-0", "+1", "01", "00", "1.0", "1e3", "1E3", "4294967296", "99999999999", "null", `"1"`, "x"} {
		_, err := strictjson.NewReader([]byte(text)).Uint32()
		require.ErrorIs(t, err, kvferry.ErrCorrupt, text)
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\u00e9é"`: "éé", `"\uD83D\ude42"`: "🙂", `"\u0000"`: "\x00",
		`"\ufffd\uffff"`: "\ufffd\uffff", "\"\u2028\x7f\"": "\u2028\x7f",
	} {
		got, err := strictjson.NewReader([]byte(text)).String()
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{``, `a`, `"`, `"a`, `"\`, `"\"`, `"\u`, `"\u12`, `"\u123"`, `"\u12g4"`, `"\x41"`, `"\ud800"`, `"\ud800\n"`, `"\ud800\u0041"`,
		`"\udc00"`, "\"\n\"", "\"\\n\n\"", "\"\x00\"", "\"\xff\"", "\"\\n\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", `'a'`, `null`} {
		_, err := strictjson.NewReader([]byte(text)).Text()
		require.ErrorIs(t, err, kvferry.ErrCorrupt, text)
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	const s = "\x00\x01\x07\b\t\n\x0b\f\r\x0e\x1f \"\\/<>&'\x7f\u2028\u2029é🙂"
	got := strictjson.AppendString([]byte("x"), s)
	require.Equal(t, `x"\u0000\u0001\u0007\b\t\n\u000b\f\r\u000e\u001f \"\\/<>&'`+"\x7f\u2028\u2029é🙂\"", string(got))
}

func TestDepth(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	require.NoError(t, whole(nested(strictjson.MaxDepth)))
	require.ErrorIs(t, whole(nested(strictjson.MaxDepth+1)), kvferry.ErrCorrupt)
	require.ErrorIs(t, whole([]byte(strings.Repeat("[", 1<<20))), kvferry.ErrCorrupt)
	wide := "[" + strings.Repeat("[],{},", 1000) + "0]"
	require.NoError(t, whole([]byte(wide)), "depth is given back")
}

// FuzzSkip: what passes is JSON to encoding/json as well, and every string in
// it means the same there.
func FuzzSkip(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e+3,true,false,null,"\u00e9\ud83d\ude42"],"b":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := whole(data); err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		require.True(t, json.Valid(data))
		if got, err := strictjson.NewReader(data).String(); err == nil {
			var want string
			require.NoError(t, json.Unmarshal(data, &want))
			require.Equal(t, want, got)
		}
	})
}

// FuzzString: text that is written reads back.
func FuzzString(f *testing.F) {
	f.Add("a\x00\"\\\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		r := strictjson.NewReader(strictjson.AppendString(nil, s))
		got, err := r.String()
		require.NoError(t, err)
		require.Equal(t, s, got)
		require.NoError(t, r.End())
	})
}
