package processfork_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/digest"
)

const imageBase = `{"schema_version":1,"media_type":"application/vnd.processfork.image.v1+json","agent":{"kind":"k","version":"1","fingerprint":"f"},` +
	`"model":{"base":"` + digestA + `","diff":"` + digestA + `"},"cache":{"layout":"paged-batchinvariant-v1","manifest":"` + digestB + `"},` +
	`"world":{"fs":"` + digestA + `","env":"` + digestA + `","procs":"` + digestA + `"},"effects":{"ledger":"` + digestA + `"},` +
	`"trace":{"messages":"` + digestA + `"},"created_at":"2026-05-05T14:11:00.120Z","parents":["` + digestA + `","` + digestB + `"]}`

func TestImageReading(t *testing.T) {
	t.Parallel()
	m, err := processfork.DecodeImage([]byte(imageBase), processfork.Options{})
	require.NoError(t, err)
	require.Equal(t, digestB, m.Cache.Manifest.String())
	require.Len(t, m.Parents, 2)
	out, err := m.Encode()
	require.NoError(t, err)
	require.Equal(t, imageBase, string(out))

	// parents may be missing, and is always written
	at := strings.Index(imageBase, `,"parents"`)
	m, err = processfork.DecodeImage([]byte(imageBase[:at]+"}"), processfork.Options{})
	require.NoError(t, err)
	out, err = m.Encode()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(out), `,"parents":[]}`))

	for _, key := range []string{"schema_version", "media_type", "agent", "kind", "version", "fingerprint", "model", "base", "diff", "cache", "layout",
		"manifest", "world", "fs", "env", "procs", "effects", "ledger", "trace", "messages", "created_at"} {
		text := strings.Replace(imageBase, `"`+key+`":`, `"u":`, 1)
		_, err := processfork.DecodeImage([]byte(text), processfork.Options{Lenient: true})
		require.ErrorIs(t, err, kvferry.ErrCorrupt, key)
	}
	for name, c := range map[string]struct {
		old, new string
		want     error
		lenient  error
	}{
		"schema":        {`version":1`, `version":2`, kvferry.ErrUnsupported, nil},
		"media type":    {`image.v1`, `image.v2`, kvferry.ErrUnsupported, nil},
		"layout":        {`batchinvariant-v1`, `batchinvariant-v2`, kvferry.ErrUnsupported, nil},
		"three parents": {`parents":[`, `parents":["` + digestA + `",`, kvferry.ErrCorrupt, nil},
		"null parents":  {`"parents":["` + digestA + `","` + digestB + `"]`, `"parents":null`, kvferry.ErrCorrupt, kvferry.ErrCorrupt},
		"repeated key":  {`"media_type"`, `"schema_version":1,"media_type"`, kvferry.ErrCorrupt, kvferry.ErrCorrupt},
		"digest":        {digestB, "sha256:../../x", kvferry.ErrCorrupt, kvferry.ErrCorrupt},
		"upper case":    {digestB, "sha256:" + strings.ToUpper(digestB[7:]), kvferry.ErrCorrupt, kvferry.ErrCorrupt},
		"time":          {`14:11:00.120Z`, `14:11Z`, kvferry.ErrCorrupt, kvferry.ErrCorrupt},
		"trailing":      {`]}`, `]}]`, kvferry.ErrCorrupt, kvferry.ErrCorrupt},
	} {
		require.Contains(t, imageBase, c.old)
		text := []byte(strings.Replace(imageBase, c.old, c.new, 1))
		_, err := processfork.DecodeImage(text, processfork.Options{})
		require.ErrorIs(t, err, c.want, name)
		m, err := processfork.DecodeImage(text, processfork.Options{Lenient: true})
		require.ErrorIs(t, err, c.lenient, name)
		if c.lenient == nil {
			out, err := m.Encode()
			require.NoError(t, err)
			require.Equal(t, string(text), string(out))
		}
	}
}

func TestImageEncodeRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *processfork.Image){
		"no digest": func(m *processfork.Image) { m.Model.Base = digest.Digest{} },
		"BLAKE3":    func(m *processfork.Image) { m.Parents[0] = digest.New(digest.BLAKE3, [32]byte{}) },
		"not UTF-8": func(m *processfork.Image) { m.Agent.Kind = "\xff" },
		"year":      func(m *processfork.Image) { m.CreatedAt.Time = m.CreatedAt.Time.AddDate(270_000, 0, 0) },
		"leap":      func(m *processfork.Image) { m.CreatedAt.Leap = true },
	} {
		m, err := processfork.DecodeImage([]byte(imageBase), processfork.Options{})
		require.NoError(t, err)
		change(m)
		_, err = m.Encode()
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2026-05-05T14:11:00Z":                     "2026-05-05T14:11:00Z",
		"2026-05-05T14:11:00.1Z":                   "2026-05-05T14:11:00.100Z",
		"2026-05-05T14:11:00.12Z":                  "2026-05-05T14:11:00.120Z",
		"2026-05-05T14:11:00.000000Z":              "2026-05-05T14:11:00Z",
		"2026-05-05T14:11:00.0001Z":                "2026-05-05T14:11:00.000100Z",
		"2026-05-05T14:11:00.123456789Z":           "2026-05-05T14:11:00.123456789Z",
		"2026-05-05T14:11:00.1234567899999Z":       "2026-05-05T14:11:00.123456789Z",
		"2026-05-05T14:11:00.0000000001Z":          "2026-05-05T14:11:00Z",
		"2026-05-05T16:11:00.000001+02:00":         "2026-05-05T14:11:00.000001Z",
		"2026-05-05T16:11:00+0200":                 "2026-05-05T14:11:00Z",
		"2026-05-05T00:11:00-23:59":                "2026-05-06T00:10:00Z",
		"2026-05-05 14:11:00Z":                     "2026-05-05T14:11:00Z",
		"2026-05-05t14:11:00z":                     "2026-05-05T14:11:00Z",
		"2026-05-05T14:11:00 UTC":                  "2026-05-05T14:11:00Z",
		"  2026-05-05T14:11:00Z":                   "2026-05-05T14:11:00Z",
		"2026-5-5T1:2:3Z":                          "2026-05-05T01:02:03Z",
		"+10000-01-01T00:00:00Z":                   "+10000-01-01T00:00:00Z",
		"+2026-01-01T00:00:00Z":                    "2026-01-01T00:00:00Z",
		"9999-12-31T23:30:00-01:00":                "+10000-01-01T00:30:00Z",
		"-0001-01-01T00:00:00Z":                    "-0001-01-01T00:00:00Z",
		"-12345-01-01T00:00:00Z":                   "-12345-01-01T00:00:00Z",
		"0000-02-29T00:00:00Z":                     "0000-02-29T00:00:00Z",
		"2016-12-31T23:59:60Z":                     "2016-12-31T23:59:60Z",
		"2016-12-31T23:59:60.5Z":                   "2016-12-31T23:59:60.500Z",
		"2017-01-01T00:59:60+01:00":                "2016-12-31T23:59:60Z",
		"+00000000000000000002026-01-01T00:00:00Z": "2026-01-01T00:00:00Z",
	} {
		ts, err := processfork.ParseTimestamp(in)
		require.NoError(t, err, in)
		out, err := ts.Append(nil)
		require.NoError(t, err)
		require.Equal(t, want, string(out), in)
		again, err := processfork.ParseTimestamp(want)
		require.NoError(t, err)
		require.Equal(t, ts, again)
	}
	for _, in := range []string{
		"", "2026-05-05", "2026-05-05T14:11:00", "2026-05-05T14:11Z", "2026-05-05T24:00:00Z", "2026-05-05T14:60:00Z", "2026-05-05T14:11:61Z",
		"2026-05-05T14:11:00,5Z", "2026-05-05T14:11:00.Z", "10000-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z", "2026-01-00T00:00:00Z", "2026-05-05T14:11:00Zx", "2026-05-05T14:11:00+24:00", "2026-05-05T14:11:00+02:60",
		"2026-05-05T14:11:00+2:00", "2026-05-05T14:11:00+", "2026-05-05X14:11:00Z", "+300000-01-01T00:00:00Z", "-99999999999999999999-01-01T00:00:00Z",
		"+-1-01-01T00:00:00Z", "+ 2026-01-01T00:00:00Z", "2026/05/05T14:11:00Z", "\xff", "2026-05-05T14:11:00\xff",
	} {
		_, err := processfork.ParseTimestamp(in)
		require.ErrorIs(t, err, kvferry.ErrInvalid, in)
	}
	local := processfork.Timestamp{Time: time.Date(2026, 5, 5, 16, 11, 0, 0, time.FixedZone("x", 7200))}
	out, err := local.Append(nil)
	require.NoError(t, err)
	require.Equal(t, "2026-05-05T14:11:00Z", string(out))
}
