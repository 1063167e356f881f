package castest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var imageTests = []test{
	{name: "entries keep it", run: testImage},
	{name: "bad images", run: testBadImages},
	{name: "persistent", needs: needs(Persistent), run: testImageReopen},
	{name: "collections keep it", needs: needs(Collects), run: testImageCollect},
	{name: "the policy drops it", needs: needs(Collects), run: testImagePolicy},
}

// imaged is a page manifest and an image of it, as far as stores look at them.
type imaged struct {
	root, image digest.Digest
	text        []byte // of the image
}

// putImaged puts the n-th page manifest and an image of it. Images of the same
// manifest differ by their version.
func putImaged(t *testing.T, sess cas.Session, n, version int) imaged {
	t.Helper()
	put := func(p []byte) digest.Digest {
		d := sum(t, digest.SHA256, p)
		_, err := sess.Put(t.Context(), d, p)
		require.NoError(t, err)
		return d
	}
	root := put(fmt.Appendf(nil, `{"layout":"castest","pages":[],"number":%d}`, n))
	text := fmt.Appendf(nil, `{"schema_version":1,"cache":{"layout":"castest","manifest":"%v"},"version":%d}`, root, version)
	return imaged{root: root, image: put(text), text: text}
}

func (i imaged) entry(names ...string) cas.Entry {
	e := entry(i.root, day(1), names...)
	e.Format, e.Image = cas.FormatProcessFork, i.image
	return e
}

// commitImaged commits it in a session of its own.
func commitImaged(t *testing.T, s cas.Store, n, version int, names ...string) imaged {
	t.Helper()
	sess := begin(t, s)
	i := putImaged(t, sess, n, version)
	require.NoError(t, sess.Commit(t.Context(), i.entry(names...)))
	return i
}

func wantEntries(t *testing.T, s cas.Store, want ...cas.Entry) {
	t.Helper()
	got, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// testImage: the image comes with the entry, and is replaced with it.
func testImage(t *testing.T, c Config) {
	s := c.open(t)
	first := commitImaged(t, s, 1, 1, "x")
	wantEntries(t, s, first.entry("x"))
	got, err := s.Catalog().Lookup(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, first.entry("x"), got)
	second := commitImaged(t, s, 1, 2)
	require.Equal(t, first.root, second.root)
	wantEntries(t, s, second.entry("x"))

	sess := begin(t, s)
	bare := putImaged(t, sess, 1, 3).entry()
	bare.Image = digest.Digest{}
	require.NoError(t, sess.Commit(t.Context(), bare))
	bare.Names = []string{"x"}
	wantEntries(t, s, bare)
}

func testBadImages(t *testing.T, c Config) {
	s := c.open(t)
	foreign := putImaged(t, begin(t, s), 1, 1) // of another session
	for name, spoil := range map[string]func(e *cas.Entry, sess cas.Session){
		"not in the session": func(e *cas.Entry, _ cas.Session) { e.Image = foreign.image },
		"no SHA-256":         func(e *cas.Entry, sess cas.Session) { e.Image = put(t, sess, foreign.text) },
	} {
		sess := begin(t, s)
		e := putImaged(t, sess, 2, 1).entry("x")
		spoil(&e, sess)
		require.ErrorIs(t, sess.Commit(t.Context(), e), kvferry.ErrInvalid, name)
		wantEntries(t, s, []cas.Entry{}...)
	}
}

func testImageReopen(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir()}
	s := c.openWith(t, setup)
	i := commitImaged(t, s, 1, 1, "x")
	require.NoError(t, s.Close())
	s = c.openWith(t, setup)
	wantEntries(t, s, i.entry("x"))
	wantBlob(t, s, i.image, i.text)
}

// later is a time after which blobs that were stored now are old: a store that
// shares its layout with others may spare young ones.
func later() time.Time { return time.Now().Add(2 * time.Hour) }

// testImageCollect: the image stays as long as the snapshot, and keeps nothing
// longer than that.
func testImageCollect(t *testing.T, c Config) {
	s := c.open(t)
	a, b := commitImaged(t, s, 1, 1), commitImaged(t, s, 2, 1)
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	wantBlob(t, s, a.image, a.text)

	again := commitImaged(t, s, 1, 2)
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{Now: later()}).Deleted, "the image that was replaced")
	wantMissing(t, s, a.image)
	require.NoError(t, s.Catalog().Drop(t.Context(), a.root))
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	wantMissing(t, s, again.image)
	wantMissing(t, s, a.root)
	wantBlob(t, s, b.image, b.text)
	wantEntries(t, s, b.entry())
	commitImaged(t, s, 1, 2)
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
}

func testImagePolicy(t *testing.T, c Config) {
	s := c.open(t)
	kept, gone := commitImaged(t, s, 1, 1, "kept"), commitImaged(t, s, 2, 1)
	o := cas.CollectOptions{KeepWithin: 1, Now: later(), DryRun: true}
	dry := collect(t, s, o)
	require.Equal(t, []cas.Entry{kept.entry("kept")}, dry.Kept)
	require.Equal(t, []cas.Entry{gone.entry()}, dry.Dropped)
	require.EqualValues(t, 2, dry.Deleted)
	wantBlob(t, s, gone.image, gone.text)
	o.DryRun = false
	require.Equal(t, dry, collect(t, s, o))
	wantMissing(t, s, gone.image)
	wantEntries(t, s, kept.entry("kept"))
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
}
