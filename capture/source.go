package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Bounds of what is asked of a store that reads batches: enough bytes for large
// reads, few enough that all workers have their share; and requests whose list
// is small against the pages, if those are tiny.
const (
	readBatchBytes    = 2 << 20
	readBatchRequests = 2048
)

// source reads and checks the pages of one group for one worker. Where the
// store reads batches, a call of read is one, or a few if there are very many
// parts; else parts are read one by one.
type source struct {
	rd    *cas.Reader
	group *manifest.Group
	pages []uint32 // numbers within the group
	reqs  []cas.Request
}

// newSource makes a source; frames is how many pages at most a read asks for.
func (f *filling) newSource(frames int) (*source, error) {
	rd, err := cas.NewReader(f.r.store, f.r.opts.Key)
	if err != nil {
		return nil, err
	}
	s := &source{rd: rd, group: f.t.stored, pages: f.t.pages}
	if parts := len(s.group.Meta.Parts); batches(f.r.store) {
		s.reqs = make([]cas.Request, 0, parts*max(1, min(frames, readBatchRequests/parts)))
	}
	return s, nil
}

// batches reports whether a store reads batches.
func batches(s cas.Store) bool {
	_, ok := s.(cas.BatchGetter)
	return ok
}

// read fills the views with the pages lo, lo+1 and so on of the list.
func (s *source) read(ctx context.Context, lo int, views [][]byte) error {
	if s.reqs == nil {
		for i, v := range views {
			if err := s.page(ctx, int(s.pages[lo+i]), v); err != nil {
				return err
			}
		}
		return nil
	}
	most := cap(s.reqs) / len(s.group.Meta.Parts)
	for len(views) > 0 {
		n := min(most, len(views))
		if err := s.batch(ctx, s.pages[lo:lo+n], views[:n]); err != nil {
			return err
		}
		lo, views = lo+n, views[n:]
	}
	return nil
}

// page reads the parts of one page one by one.
func (s *source) page(ctx context.Context, number int, dst []byte) error {
	for p, part := range s.group.Meta.Parts {
		d := s.group.Table.Digest(number, p)
		n, err := s.rd.Get(ctx, d, dst[:part.Bytes])
		if err = partError(d, n, part.Bytes, err); err != nil {
			return s.failed(number, p, err)
		}
		dst = dst[part.Bytes:]
	}
	return nil
}

// batch reads the parts of several pages at once. Of several that cannot be
// read the first is told.
func (s *source) batch(ctx context.Context, numbers []uint32, views [][]byte) error {
	parts := s.group.Meta.Parts
	s.reqs = s.reqs[:0]
	for i, number := range numbers {
		dst := views[i]
		for p, part := range parts {
			s.reqs = append(s.reqs, cas.Request{Digest: s.group.Table.Digest(int(number), p), Dst: dst[:part.Bytes:part.Bytes]})
			dst = dst[part.Bytes:]
		}
	}
	if err := s.rd.GetBatch(ctx, s.reqs); err != nil {
		return fmt.Errorf("pages %d to %d of group %q: %w", numbers[0], numbers[len(numbers)-1], s.group.Name, err)
	}
	for i, q := range s.reqs {
		p := i % len(parts)
		if err := partError(q.Digest, q.N, parts[p].Bytes, q.Err); err != nil {
			return s.failed(int(numbers[i/len(parts)]), p, err)
		}
	}
	return nil
}

func (s *source) failed(number, part int, err error) error {
	return fmt.Errorf("part %d of page %d of group %q: %w", part, number, s.group.Name, err)
}

// partError returns the error of reading a part's blob: one of another length
// is damage.
func partError(d digest.Digest, n, want int, err error) error {
	if errors.Is(err, kvferry.ErrShortBuffer) || err == nil && n != want {
		return fmt.Errorf("blob %v has not the %d bytes of its part: %w", d, want, kvferry.ErrCorrupt)
	}
	return err
}
