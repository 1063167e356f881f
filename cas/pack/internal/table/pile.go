package table

import "slices"

// Load builds a shard in two steps, which is several times as fast as one Put
// after the other: entries are piled up in the chunks of the shard as they
// come, and when there are all, they are put into order in one pass. Until
// then the table belongs to Load alone.

// pile appends entries to a shard that is not in order.
func (t *Table) pile(s *shard, list []entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := (s.n+len(list)+chunkEntries-1)/chunkEntries - len(s.dir); more > 0 {
		if err := t.extendLocked(s, more); err != nil {
			return err
		}
	}
	v := t.view(s)
	for len(list) > 0 {
		n := copy(v.chunk(uint64(s.n))[s.n%chunkEntries:], list)
		list = list[n:]
		s.n += n
	}
	return nil
}

// extendLocked adds chunks to a shard that is not in order.
func (t *Table) extendLocked(s *shard, more int) error {
	have, before := len(s.dir), cap(s.dir)
	s.dir = slices.Grow(s.dir, more)[:have+more]
	t.dirBytes.Add(int64(cap(s.dir)-before) * 4)
	if err := t.pool.take(s.dir[have:]); err != nil {
		s.dir = s.dir[:have]
		return err
	}
	return nil
}

// settler puts piled shards into order.
type settler struct {
	t      *Table
	pile   []entry
	sorted []entry
	ends   []uint32 // of the entries of each home
}

// settle puts a shard into order, without what is there twice, and returns how
// many entries that leaves.
func (r *settler) settle(s *shard) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.pile = r.pile[:0]
	for n, i := s.n, 0; n > 0; n, i = n-chunkEntries, i+1 {
		c := r.t.pool.slabs().chunk(s.dir[i])
		r.pile = append(r.pile, c[:min(n, chunkEntries)]...)
		*c = chunk{}
	}
	chunks := chunksFor(s.n)
	s.n = 0
	if err := r.t.fitLocked(s, chunks); err != nil {
		return 0, err
	}
	v := r.t.view(s)
	r.sort(v.slots())
	next := uint64(0)
	for i := range r.sorted {
		e := &r.sorted[i]
		if i > 0 && r.isTwin(i) {
			continue
		}
		next = v.append(next, e)
		s.n++
	}
	r.t.count.Add(int64(s.n))
	return s.n, nil
}

// chunksFor is how many chunks a shard needs that has n entries.
func chunksFor(n int) int {
	chunks := (n + fullSmall - 1) / fullSmall
	if chunks > smallChunks {
		chunks = max(smallChunks+1, (n+fullEntries-1)/fullEntries)
	}
	return chunks
}

// fitLocked gives an empty shard exactly so many chunks.
func (t *Table) fitLocked(s *shard, chunks int) error {
	dir := make([]chunkID, chunks)
	keep := copy(dir, s.dir)
	if err := t.pool.take(dir[keep:]); err != nil {
		return err
	}
	t.pool.give(s.dir[keep:])
	t.dirBytes.Add(int64(cap(dir)-cap(s.dir)) * 4)
	s.dir = dir
	return nil
}

// sort brings pile into the order of tags, into sorted.
func (r *settler) sort(slots uint64) {
	r.ends = slices.Grow(r.ends[:0], int(slots))[:slots]
	clear(r.ends)
	for i := range r.pile {
		r.ends[home(r.pile[i].tag(), slots)]++
	}
	sum := uint32(0)
	for i, n := range r.ends {
		r.ends[i] = sum
		sum += n
	}
	r.sorted = slices.Grow(r.sorted[:0], len(r.pile))[:len(r.pile)]
	for i := range r.pile {
		at := &r.ends[home(r.pile[i].tag(), slots)]
		r.sorted[*at] = r.pile[i]
		*at++
	}
	from := uint32(0)
	for _, end := range r.ends {
		if end-from > 1 {
			slices.SortFunc(r.sorted[from:end], compareEntries)
		}
		from = end
	}
}

func compareEntries(a, b entry) int {
	if a[0] != b[0] {
		if a[0] < b[0] {
			return -1
		}
		return 1
	}
	return slices.Compare(a[1:], b[1:])
}

// isTwin tells whether the blob before entry i of sorted is the same.
func (r *settler) isTwin(i int) bool {
	a, b := &r.sorted[i-1], &r.sorted[i]
	return a.tag() == b.tag() && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && (a[4]^b[4])&algorithmMask == 0
}
