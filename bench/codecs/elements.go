package codecs

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/codec/planes"
)

// elements are those of the formats that pages are converted to.
var elements = map[string]planes.Elements{"f16": planes.Float16, "e4m3": planes.E4M3, "e5m2": planes.E5M2}

// others adds the ratios of pages that are converted to other formats, which
// the level small codes, beside those of zstd.
func others(s *harness.Section, set *pages.Set) error {
	for _, f := range pages.Formats() {
		el, ok := elements[f.Name]
		if !ok {
			return fmt.Errorf("codecs: format %s: %w", f.Name, kvferry.ErrInvalid)
		}
		z, err := newZstd(zstd.SpeedBetterCompression)
		if err != nil {
			return err
		}
		all := set.Convert(f)
		for _, m := range []struct {
			method
			c coder
		}{
			{method{name: small, role: harness.Ours}, &entropy{shape: shape(set), elements: el}},
			{method{name: "zstd-klauspost", role: harness.Peer, note: "better level"}, z},
		} {
			r, err := ratioOf(m.c, all)
			if err != nil {
				return fmt.Errorf("codecs: %s of %s as %s: %w", m.name, set.Name, f.Name, err)
			}
			fig := &harness.Figure{
				Name: "op=ratio/codec=" + m.name + "/data=" + set.Name + "/elements=" + f.Name,
				Unit: harness.Times, Role: m.role, Note: m.note,
			}
			fig.Add(r)
			s.Figures = append(s.Figures, fig)
		}
	}
	return nil
}

// ratioOf codes the K and V of all pages and holds them to what comes back.
func ratioOf(c coder, all [][]byte) (float64, error) {
	plain, stored := 0, 0
	for i, p := range all {
		half := len(p) / 2
		for part, b := range [][]byte{p[:half], p[half:]} {
			out, err := c.encode(make([]byte, 0, slot(half)), b, part)
			if err != nil {
				return 0, err
			}
			back := make([]byte, half)
			if err := c.decode(back, out, part); err != nil {
				return 0, err
			}
			if !bytes.Equal(back, b) {
				return 0, fmt.Errorf("part %d of page %d comes back differently: %w", part, i, kvferry.ErrCorrupt)
			}
			plain, stored = plain+half, stored+len(out)
		}
	}
	return float64(plain) / float64(stored), nil
}
