package capture

import "sync/atomic"

// meter counts progress and tells the caller's function of it.
type meter struct {
	tell         func(Progress)
	total        Progress
	pages, bytes *atomic.Int64
}

func newMeter(tell func(Progress), pages int, bytes int64) meter {
	m := meter{tell: tell, total: Progress{TotalPages: pages, TotalBytes: bytes}}
	m.pages, m.bytes = new(atomic.Int64), new(atomic.Int64)
	return m
}

func (m meter) add(pages int, bytes int64) {
	if m.tell == nil {
		return
	}
	p := m.total
	p.Pages = int(m.pages.Add(int64(pages)))
	p.Bytes = m.bytes.Add(bytes)
	m.tell(p)
}
