package processfork_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/pager"
)

const (
	digestA = "sha256:61be55a8e2f6b4e172338bddf184d6dbee29c98853e0a0485ecee7f27b9af0b4"
	digestB = "sha256:81cc5b17018674b401b42f35ba07bb79e211239c23bffe658da1577e3e646877"
	base    = `{"layout":"paged-batchinvariant-v1","page_size_tokens":2,"n_layers":1,"n_heads":1,"head_dim":2,"dtype":"fp8e4m3",` +
		`"pages":[{"ix":3,"k":"` + digestA + `","v":"` + digestB + `"}],` +
		`"logical_seqs":[{"id":"s","page_ixs":[3],"fill_in_last_page":1}]}`
)

// edit replaces one place of the base manifest, which must have it.
func edit(t testing.TB, old, with string) string {
	t.Helper()
	require.Contains(t, base, old)
	return strings.Replace(base, old, with, 1)
}

// TestAcceptedSpellings: other spellings of one content are the same content.
func TestAcceptedSpellings(t *testing.T) {
	t.Parallel()
	want, _, err := processfork.DecodeManifest([]byte(base), processfork.Options{})
	require.NoError(t, err)
	members := strings.SplitAfter(base[1:len(base)-1], `,"`)
	require.Greater(t, len(members), 8)
	deep := strings.Repeat("[", 126) + strings.Repeat("]", 126)
	for name, text := range map[string]string{
		"white space":     " \t\r\n" + strings.NewReplacer(`":`, "\" : \n", `,"`, ` , "`, "[", "[ ", "}", " }").Replace(base) + " \n",
		"other order":     `{"logical_seqs":[{"fill_in_last_page":1,"page_ixs":[3],"id":"s"}],"pages":[{"v":"` + digestB + `","ix":3,"k":"` + digestA + `"}],"dtype":"fp8e4m3","head_dim":2,"n_heads":1,"n_layers":1,"page_size_tokens":2,"layout":"paged-batchinvariant-v1"}`,
		"unknown keys":    edit(t, `"n_layers"`, `"u":{"a":[1.5e3,-0,true,false,null,"\ud83d\ude42"]},"u":1,"n_layers"`),
		"unknown in page": edit(t, `"ix"`, `"u":[],"u":{},"ix"`),
		"unknown in seq":  edit(t, `"id"`, `"u":"x","id"`),
		"escaped key":     edit(t, `"layout"`, `"\u006cayout"`),
		"escaped text":    edit(t, `"id":"s"`, `"id":"\u0073"`),
		"deep":            edit(t, `"n_layers"`, `"u":`+deep+`,"n_layers"`),
		"name":            edit(t, `"n_layers"`, `"name":null,"n_layers"`),
		"case":            edit(t, `"n_layers"`, `"N_LAYERS":7,"n_layers"`),
	} {
		got, _, err := processfork.DecodeManifest([]byte(text), processfork.Options{})
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		out, err := processfork.EncodeManifest(got)
		require.NoError(t, err)
		require.Equal(t, base, string(out), name)
	}
}

// TestRefused: what the original refuses, and what it takes by accident.
func TestRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"empty": "", "null": "null", "array": "[" + base + "]", "number": "1", "byte-order mark": "\ufeff" + base,
		"trailing byte": base + "x", "second object": base + base, "trailing comma": strings.TrimSuffix(base, "}") + ",}",
		"comma first": "{," + base[1:], "no colon": edit(t, `"n_layers":1`, `"n_layers" 1`), "single quotes": edit(t, `"s"`, `'s'`),
		"trailing comma in pages": edit(t, `"}],`, `"},],`), "control character": edit(t, `"s"`, "\"\x1f\""),
		"not UTF-8 in an id": edit(t, `"s"`, "\"\xff\""), "not UTF-8 behind an escape": edit(t, `"s"`, "\"\\n\xc0\x80\""),
		"surrogate in UTF-8": edit(t, `"s"`, "\"\xed\xa0\x80\""), "not UTF-8 in a key": edit(t, `"n_layers"`, "\"\xff\":1,\"n_layers\""),
		"lone high": edit(t, `"s"`, `"\ud800"`), "lone low": edit(t, `"s"`, `"\udc00"`), "two high": edit(t, `"s"`, `"\ud800\ud800"`),
		"high and text": edit(t, `"s"`, `"\ud800x"`), "short escape": edit(t, `"s"`, `"\u12"`), "unknown escape": edit(t, `"s"`, `"\x"`),
		"text not UTF-8 under an unknown key": edit(t, `"n_layers"`, "\"u\":\"\xff\",\"n_layers\""),
		"too deep":                            edit(t, `"n_layers"`, `"u":`+strings.Repeat("[", 127)+strings.Repeat("]", 127)+`,"n_layers"`),
		"very deep":                           strings.Repeat(`{"a":`, 1<<20),
		"unknown value missing":               edit(t, `"n_layers"`, `"u":,"n_layers"`),
		"unknown number":                      edit(t, `"n_layers"`, `"u":1e999,"n_layers"`),
		"unknown 01":                          edit(t, `"n_layers"`, `"u":01,"n_layers"`),
		"unknown 1.":                          edit(t, `"n_layers"`, `"u":1.,"n_layers"`),
		"unknown 1e":                          edit(t, `"n_layers"`, `"u":1e,"n_layers"`),
		"unknown -":                           edit(t, `"n_layers"`, `"u":-,"n_layers"`),
		"unknown NaN":                         edit(t, `"n_layers"`, `"u":NaN,"n_layers"`),
		"dtype fp8_e4m3":                      edit(t, `"fp8e4m3"`, `"fp8_e4m3"`),
		"dtype in upper case":                 edit(t, `"fp8e4m3"`, `"FP8E4M3"`),
		"dtype of kvferry alone":              edit(t, `"fp8e4m3"`, `"fp8e5m2"`),
		"dtype as an object":                  edit(t, `"fp8e4m3"`, `{"fp8e4m3":null}`),
		"page as an array":                    edit(t, `{"ix":3,"k":"`+digestA+`","v":"`+digestB+`"}`, `[3,"`+digestA+`","`+digestB+`"]`),
		"pf-core's fixture": `{"layout":"paged-batchinvariant-v1","page_size_bytes":16384,"pages":[{"ix":0,"k":"` + digestA + `","v":"` + digestB + `"}],` +
			`"logical_seqs":[]}`,
	}
	for _, key := range []string{"layout", "page_size_tokens", "n_layers", "n_heads", "head_dim", "dtype", "pages", "logical_seqs", "ix", "k", "v", "id", "page_ixs", "fill_in_last_page"} {
		if key != "logical_seqs" { // which a lenient reader does without
			cases["missing "+key] = edit(t, `"`+key+`":`, `"other":`)
			cases["other case "+key] = edit(t, `"`+key+`":`, `"`+strings.ToUpper(key)+`":`)
		}
		at := strings.Index(base, `"`+key+`":`)
		end := at + strings.IndexAny(base[at:], ",}]")
		if i := strings.IndexByte(base[at:], '['); i >= 0 && at+i < end {
			end = at + strings.IndexByte(base[at:], ']') + 1
		}
		cases["repeated "+key] = base[:at] + base[at:end] + "," + base[at:]
		cases["null "+key] = base[:at] + `"` + key + `":null` + base[end:]
		cases["object "+key] = base[:at] + `"` + key + `":{}` + base[end:]
	}
	for _, number := range []string{"-1", "4294967296", "2.0", "1e3", "1E0", "-0", "02", `"2"`, "null", "true", "", "+1", "0x1", "99999999999999999999", "2 2"} {
		for _, old := range []string{`"page_size_tokens":2`, `"n_layers":1`, `"n_heads":1`, `"head_dim":2`, `"ix":3`, `"page_ixs":[3]`, `"fill_in_last_page":1`} {
			if number == "" && strings.HasSuffix(old, "]") {
				continue // an empty list
			}
			i := strings.LastIndexAny(old, "123")
			cases[old+" as "+number] = edit(t, old, old[:i]+number+old[i+1:])
		}
	}
	for _, d := range []string{"", "sha256:", "sha256:short", "md5:abc", digestA[7:], strings.ToUpper(digestA), "sha256:" + strings.ToUpper(digestA[7:]),
		digestA + "0", digestA[:70], digestA[:70] + "g", "sha256:../../x", "sha256:/tmp/x", strings.Replace(digestA, "sha256", "sha512", 1),
		strings.Replace(digestA, "sha256", "blake3", 1), " " + digestA} {
		cases["digest "+d] = edit(t, digestA, d)
		cases["second digest "+d] = edit(t, digestB, d)
	}
	for name, text := range cases {
		for _, lenient := range []bool{false, true} {
			g, _, err := processfork.DecodeManifest([]byte(text), processfork.Options{Lenient: lenient})
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "%s: %s", name, text)
			require.Nil(t, g)
		}
	}
	for cut := range len(base) {
		_, _, err := processfork.DecodeManifest([]byte(base[:cut]), processfork.Options{Lenient: true})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	}
}

// TestUnsupported: the layout is judged first, wherever it stands.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	v2 := edit(t, "batchinvariant-v1", "batchinvariant-v2")
	for name, text := range map[string]string{
		"other layout":                  v2,
		"other layout, nothing else":    `{"layout":"x"}`,
		"other layout, other fields":    `{"dtype":"int4","pages":7,"layout":"x"}`,
		"other layout, broken":          `{"dtype":"int4","layout":"x"`,
		"page too large":                edit(t, `"n_layers":1`, `"n_layers":1073741825`),
		"size beyond 64 bits":           strings.NewReplacer(`tokens":2`, `tokens":4294967295`, `s":1`, `s":4294967295`, `dim":2`, `dim":4294967295`).Replace(base),
		"size that wraps round to zero": strings.NewReplacer(`tokens":2`, `tokens":65536`, `s":1`, `s":65536`, `dim":2`, `dim":65536`).Replace(base),
	} {
		_, _, err := processfork.DecodeManifest([]byte(text), processfork.Options{Lenient: true})
		require.ErrorIs(t, err, kvferry.ErrUnsupported, name)
		require.NotErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
}

// TestContradictions: a strict reader refuses them, a lenient one keeps what a
// group can hold, says what it left out, and can write the same bytes again.
func TestContradictions(t *testing.T) {
	t.Parallel()
	page := func(ix string) string { return `{"ix":` + ix + `,"k":"` + digestA + `","v":"` + digestA + `"},` }
	seq := func(id, ixs, fill string) string {
		return `{"id":"` + id + `","page_ixs":[` + ixs + `],"fill_in_last_page":` + fill + `}`
	}
	const seqs = `{"id":"s","page_ixs":[3],"fill_in_last_page":1}`
	for name, c := range map[string]struct {
		text     string
		pages    int
		repeated int
		kept     []string
		omitted  []string
	}{
		"page twice":       {edit(t, `{"ix":3,`, page("3")+`{"ix":3,`), 1, 1, []string{"s"}, nil},
		"id twice":         {edit(t, seqs, seqs+","+seq("s", "", "0")), 1, 0, []string{"s"}, []string{"s"}},
		"dangling":         {edit(t, seqs, seq("a", "3,4", "1")+","+seqs), 1, 0, []string{"s"}, []string{"a"}},
		"dangling 2^32-1":  {edit(t, `[3]`, `[4294967295]`), 1, 0, nil, []string{"s"}},
		"full page":        {edit(t, `last_page":1`, `last_page":2`), 1, 0, []string{"s"}, nil},
		"more than a page": {edit(t, `last_page":1`, `last_page":3`), 1, 0, nil, []string{"s"}},
		"fill, no page":    {edit(t, seqs, seq("", "", "9")+","+seqs), 1, 0, []string{"s"}, []string{""}},
	} {
		_, _, err := processfork.DecodeManifest([]byte(c.text), processfork.Options{})
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
		g, x, err := processfork.DecodeManifest([]byte(c.text), processfork.Options{Lenient: true})
		require.NoError(t, err, name)
		require.Equal(t, c.pages, g.Table.Pages(), name)
		require.Equal(t, digestB, g.Table.Digest(0, 1).String(), "the later entry counts")
		require.Equal(t, c.repeated, x.RepeatedPages, name)
		var kept, omitted []string
		for _, s := range g.Sequences {
			kept = append(kept, s.ID)
			require.Less(t, s.FillInLastPage, uint32(2))
		}
		for _, o := range x.Omitted {
			omitted = append(omitted, o.ID)
			require.NotEmpty(t, o.Why)
		}
		require.Equal(t, c.kept, kept, name)
		require.Equal(t, c.omitted, omitted, name)
		require.ErrorIs(t, x.Manifest.Check(), kvferry.ErrInvalid, name)
		out, err := x.Manifest.Encode()
		require.NoError(t, err)
		require.Equal(t, c.text, string(out), name)
		_, err = processfork.EncodeManifest(g)
		require.NoError(t, err)
	}
}

// TestOtherWriters: the empty manifests of the SDKs and the CLI, and the
// Python adapters' form.
func TestOtherWriters(t *testing.T) {
	t.Parallel()
	const sdk = `{"dtype":"bf16","head_dim":0,"layout":"paged-batchinvariant-v1","logical_seqs":[],"n_heads":0,"n_layers":0,"page_size_tokens":16,"pages":[]}`
	require.Equal(t, "sha256:83e25a5e46ac0799b197c3499c6a46498c72d14c892a809cfa4c3d7d9f00aa0c", cid([]byte(sdk)))
	cli := strings.Replace(sdk, `"page_size`, `"note":"generic-cli-empty: populated by adapters, not by walking a directory","page_size`, 1)
	require.Equal(t, "sha256:741f97593cc0f2a983ee6c55927fda7ecc13441252f411b51e45d737561dcc1d", cid([]byte(cli)))
	for _, text := range []string{sdk, cli} {
		g, _, err := processfork.DecodeManifest([]byte(text), processfork.Options{})
		require.NoError(t, err)
		require.Zero(t, g.Table.Pages())
		require.Zero(t, g.Meta.PageBytes())
		out, err := processfork.EncodeManifest(g)
		require.NoError(t, err)
		require.Equal(t, "sha256:12eec3d327a675ab66cf60c6cf0a0ac9812e41cdc93c986785b87028ea94357c", cid(out))
	}
	adapter := `{"dtype":"bf16","head_dim":0,"layout":"paged-batchinvariant-v1","n_heads":0,"n_layers":0,"name":"caf\u00e9","page_size_tokens":16,` +
		`"pages":[{"ix":0,"k":"` + digestA + `","v":"` + digestB + `"}]}`
	_, _, err := processfork.DecodeManifest([]byte(adapter), processfork.Options{})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	g, x, err := processfork.DecodeManifest([]byte(adapter), processfork.Options{Lenient: true})
	require.NoError(t, err)
	require.Equal(t, 1, g.Table.Pages())
	require.Empty(t, g.Sequences)
	require.Equal(t, "café", x.Name)
	require.True(t, x.NoSequences)
	_, x, err = processfork.DecodeManifest([]byte(strings.Replace(adapter, `"caf\u00e9"`, "null", 1)), processfork.Options{Lenient: true})
	require.NoError(t, err)
	require.Empty(t, x.Name)
}

// TestDtypes: the four names and their sizes (format.rs dtype_bytes_correct,
// page_bytes_matches_spec).
func TestDtypes(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"bf16": 2, "f16": 2, "f32": 4, "fp8e4m3": 1} {
		g, _, err := processfork.DecodeManifest([]byte(edit(t, "fp8e4m3", name)), processfork.Options{})
		require.NoError(t, err)
		require.Equal(t, 2*4*size, g.Meta.PageBytes(), name)
		out, err := processfork.EncodeManifest(g)
		require.NoError(t, err)
		require.Equal(t, edit(t, "fp8e4m3", name), string(out))
	}
	require.Equal(t, 2*20_971_520, meta(t, 16, 80, 64, 128, pager.BF16).PageBytes())
	_, err := pager.Plain(math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, pager.F32)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}
