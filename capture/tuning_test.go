package capture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// onDisk are the stores that encode.
func onDisk(t testing.TB) map[string]func() cas.Store {
	closing := func(s cas.Store, err error) cas.Store {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	return map[string]func() cas.Store{
		"dir":  func() cas.Store { s, err := dir.Open(t.TempDir(), dir.Options{}); return closing(s, err) },
		"pack": func() cas.Store { s, err := pack.Open(t.TempDir(), pack.Options{}); return closing(s, err) },
	}
}

// likeReal returns an engine of n pages like those of a model.
func likeReal(t testing.TB, layers, heads, dim uint32, n int, seed uint64) *synthetic.Engine {
	t.Helper()
	m, err := pager.Plain(16, layers, heads, dim, pager.BF16)
	require.NoError(t, err)
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 4096})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	require.NoError(t, e.PopulateKV(n, seed))
	return e
}

// wantBack restores a snapshot and compares every group with what was captured.
func wantBack(t *testing.T, s cas.Store, rep capture.Report, engines ...*synthetic.Engine) {
	t.Helper()
	var groups []capture.Group
	for i, g := range rep.Groups {
		groups = append(groups, capture.Group{Name: g.Name, Pager: fresh(t, engines[i])})
	}
	back, err := capture.RestoreGroups(t.Context(), s, rep.Root, groups, capture.RestoreOptions{})
	require.NoError(t, err)
	for i, e := range engines {
		want, _ := content(t, e)
		got, _ := content(t, groups[i].Pager)
		require.Len(t, got, len(want))
		for k, p := range back.Mappings[i].Captured {
			require.True(t, bytes.Equal(want[p], got[back.Mappings[i].Restored[k]]), "page %d of group %d", p, i)
		}
	}
}

// TestAutoShrinksPages: by default pages like those of models take two thirds
// of their bytes in stores on disk, and by other modes what these say.
func TestAutoShrinksPages(t *testing.T) {
	t.Parallel()
	for name, open := range onDisk(t) {
		for mode, most := range map[codec.Mode]float64{codec.Auto: 0.70, codec.Fast: 0.70, codec.Small: 0.69, codec.OnlyRaw: 1.05, codec.PreferZstd: 0.85} {
			s := open()
			e := likeReal(t, 4, 2, 64, 80, 1)
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Codec: mode})
			require.NoError(t, err)
			share := float64(rep.StoredBytes) / float64(rep.Bytes)
			require.Less(t, share, most, "%v into %s", mode, name)
			require.Greater(t, share, most-0.15, "%v into %s", mode, name)
			wantBack(t, s, rep, e)
		}
	}
}

// TestGroupsAreTunedByThemselves: groups of other geometries, of the same, and
// of elements that are not bf16.
func TestGroupsAreTunedByThemselves(t *testing.T) {
	t.Parallel()
	engines := []*synthetic.Engine{
		likeReal(t, 4, 2, 64, 30, 1), likeReal(t, 4, 2, 64, 30, 1<<40), likeReal(t, 2, 1, 128, 30, 3),
		populated(t, 16, 4, 2, 64, pager.F16, 5, 1<<40),
	}
	var groups []capture.Group
	for i, e := range engines {
		groups = append(groups, capture.Group{Name: fmt.Sprint(i), Pager: e})
	}
	for _, open := range onDisk(t) {
		s := open()
		rep, err := capture.Groups(t.Context(), groups, s, capture.Options{})
		require.NoError(t, err)
		f16 := int64(engines[3].Meta().PageBytes() * 5) // noise: as it is
		require.Less(t, float64(rep.StoredBytes-f16)/float64(rep.Bytes-f16), 0.72)
		wantBack(t, s, rep, engines...)
	}
}

// TestOpaqueAndLatentParts: the latent of MLA is rows of one head, a packed part
// is taken for such, and neither those nor parts of an odd length cost anything
// but bytes.
func TestOpaqueAndLatentParts(t *testing.T) {
	t.Parallel()
	for _, parts := range [][]pager.Part{
		{{Kind: pager.PartLatent, Bytes: 2 * 3 * 16 * 576, Form: pager.FormLatent}},
		{{Kind: pager.PartKV, Bytes: 2 * 3 * 16 * 256, Form: "packed"}, {Kind: pager.PartScale, Bytes: 3 * 16 * 4, Form: "f32"}},
		{{Kind: pager.PartKV, Bytes: 12345, Form: "odd"}, {Kind: pager.PartK}},
	} {
		m := pager.Meta{PageTokens: 16, Layers: 3, KVHeads: 1, HeadDim: 576, Dtype: pager.BF16, Parts: parts}
		e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 64})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		require.NoError(t, e.Populate(40, 1<<40))
		latent := parts[0].Kind == pager.PartLatent
		for i := 0; latent && i < 40; i++ {
			require.NoError(t, e.WritePage(t.Context(), pager.PageID(i), normal(parts[0].Bytes, i)))
		}
		for name, open := range onDisk(t) {
			s := open()
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
			require.NoError(t, err, name)
			wantBack(t, s, rep, e)
			if latent {
				require.Less(t, float64(rep.StoredBytes)/float64(rep.Bytes), 0.75, name)
			}
		}
	}
}

// normal returns n bytes of normally distributed bf16.
func normal(n, seed int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	p := make([]byte, 0, n)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint16(p, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	return p
}

// hinted notes what sessions are told of their blobs.
type hinted struct {
	cas.Store
	hint codec.Hint
}

func (h *hinted) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	h.hint = o.Hint
	return h.Store.Begin(ctx, o)
}

// TestWindowsAreFoundOnTheWay: the pages that a capture stores tell the windows
// of those behind them, a set for each segment of each part. A store that does
// not code them costs nothing.
func TestWindowsAreFoundOnTheWay(t *testing.T) {
	t.Parallel()
	e := likeReal(t, 4, 2, 64, 80, 1)
	page := make([]byte, e.Meta().PageBytes())
	require.NoError(t, e.ReadPage(t.Context(), 7, page))
	// windows of the segments of a part, as it would be coded now
	windows := func(h codec.Hint, part []byte) map[string]bool {
		var enc codec.Encoder
		f, err := enc.Encode(h, part)
		require.NoError(t, err)
		require.Equal(t, codec.Planes, f.Codec())
		all := map[string]bool{}
		at := 16 + 4*4 // behind the head and the entries of the payload
		for i := range 4 {
			n := binary.LittleEndian.Uint32(f.Payload[16+4*i:]) & (1<<30 - 1)
			all[string(f.Payload[at:at+6])] = true
			at += (int(n) + 7) &^ 7
		}
		return all
	}
	for name, open := range onDisk(t) {
		s := &hinted{Store: open()}
		_, err := capture.Capture(t.Context(), e, s, capture.Options{})
		require.NoError(t, err)
		require.True(t, s.hint.Tuning.Wanted(), name)
		k, v := windows(s.hint, page[:len(page)/2]), windows(s.hint, page[len(page)/2:])
		require.Greater(t, len(v), 1, "values grow with depth")
		require.NotEqual(t, k, v)
	}
	s := &hinted{Store: newMem(t)}
	_, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	require.False(t, s.hint.Tuning.Wanted())
	require.Len(t, windows(s.hint, page[len(page)/2:]), 1, "found in the blob itself: the same for all segments")
}

// TestConvertShrinksPages: a copy is coded as a capture is, also of a snapshot
// that was stored raw, and has the same digest.
func TestConvertShrinksPages(t *testing.T) {
	t.Parallel()
	e := likeReal(t, 4, 2, 64, 80, 1)
	from := newMem(t)
	rep, err := capture.Capture(t.Context(), e, from, capture.Options{})
	require.NoError(t, err)
	for name, open := range onDisk(t) {
		s := open()
		c, err := capture.Convert(t.Context(), from, rep.Root, s, capture.ConvertOptions{})
		require.NoError(t, err, name)
		require.Equal(t, rep.Root, c.Root)
		require.Less(t, float64(c.StoredBytes)/float64(c.Bytes), 0.70, name)
		c.Groups = rep.Groups
		wantBack(t, s, c, e)
	}
}
