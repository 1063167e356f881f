package model

import "math"

// Row is one token of a forward pass.
type Row struct {
	Token int32
	Pos   int // position in its sequence; below Config().SeqLen
	// Pages is the page table of the token's sequence; it covers Pos.
	Pages []uint32
	// Logits, if not nil, receives the scores of the next token; Vocab long.
	Logits []float32
}

// Pass runs batches of tokens through a model and keeps the buffers for it. It
// is used by one goroutine at a time.
type Pass struct {
	m    *Model
	team team
	x, y, q, k, v, a, b, logits,
	scores []float32
}

// NewPass returns a Pass over m that uses at most workers goroutines at a
// time, all of which have ended when Run returns. grain is the number of
// multiply-adds below which work is not divided; 0 means the default.
func NewPass(m *Model, workers, grain int) *Pass {
	if grain <= 0 {
		grain = 1 << 17
	}
	return &Pass{m: m, team: team{workers: max(workers, 1), grain: grain}}
}

// fit returns a slice of length n, reusing buf where it is large enough.
func fit(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n)
	}
	return (*buf)[:n]
}

// Run writes the keys and values of rows into the cache and the logits that
// rows ask for. Rows of one sequence stand in order of position, and every
// position before them has been written. No page is written by rows of two
// sequences.
func (p *Pass) Run(c *Cache, rows []Row) {
	cfg, n := p.m.cfg, len(rows)
	x, y := fit(&p.x, n*cfg.Dim), fit(&p.y, n*cfg.Dim)
	for i, r := range rows {
		copy(x[i*cfg.Dim:(i+1)*cfg.Dim], p.m.embed[int(r.Token)*cfg.Dim:])
	}
	for i := range p.m.layers {
		l := &p.m.layers[i]
		p.normAll(y, x, l.attNorm, n)
		p.attend(c, i, rows, y)
		add(x, y)
		p.normAll(y, x, l.ffnNorm, n)
		p.feedForward(l, n, y)
		add(x, y)
	}
	p.classify(rows, x, y)
}

// normAll normalises n vectors.
func (p *Pass) normAll(out, x, w []float32, n int) {
	d := len(w)
	for i := range n {
		rmsNorm(out[i*d:(i+1)*d], x[i*d:(i+1)*d], w)
	}
}

// attend replaces y by the layer's attention over it.
func (p *Pass) attend(c *Cache, li int, rows []Row, y []float32) {
	cfg, l, n := p.m.cfg, &p.m.layers[li], len(rows)
	dim, kv := cfg.Dim, cfg.KVDim()
	q, k, v := fit(&p.q, n*dim), fit(&p.k, n*kv), fit(&p.v, n*kv)
	p.team.matmul(q, y, l.wq, n, dim, dim)
	p.team.matmul(k, y, l.wk, n, dim, kv)
	p.team.matmul(v, y, l.wv, n, dim, kv)
	for i, r := range rows {
		p.m.rotate(q[i*dim:(i+1)*dim], r.Pos)
		p.m.rotate(k[i*kv:(i+1)*kv], r.Pos)
		page, slot := r.Pages[r.Pos/c.PageTokens], r.Pos%c.PageTokens
		c.put(c.Keys[li], page, slot, k[i*kv:(i+1)*kv])
		c.put(c.Values[li], page, slot, v[i*kv:(i+1)*kv])
	}
	a := fit(&p.a, n*dim)
	longest := 0
	for _, r := range rows {
		longest = max(longest, r.Pos+1)
	}
	group := cfg.Heads / cfg.KVHeads
	scores := fit(&p.scores, p.team.workers*group*longest)
	p.team.split(n, longest*dim*2, func(worker, lo, hi int) {
		s := scores[worker*group*longest : (worker+1)*group*longest]
		for i := lo; i < hi; i++ {
			for h := range cfg.KVHeads {
				at := i*dim + h*group*cfg.HeadDim()
				head{c, c.Keys[li], c.Values[li], rows[i], h * cfg.HeadDim(), cfg.HeadDim()}.
					attend(a[at:at+group*cfg.HeadDim()], q[at:at+group*cfg.HeadDim()], s[:group*(rows[i].Pos+1)])
			}
		}
	})
	p.team.matmul(y, a, l.wo, n, dim, dim)
}

// feedForward replaces y by the layer's feed-forward network of it.
func (p *Pass) feedForward(l *layer, n int, y []float32) {
	cfg := p.m.cfg
	a, b := fit(&p.a, n*cfg.Hidden), fit(&p.b, n*cfg.Hidden)
	p.team.matmul(a, y, l.w1, n, cfg.Dim, cfg.Hidden)
	p.team.matmul(b, y, l.w3, n, cfg.Dim, cfg.Hidden)
	gate(a, b)
	p.team.matmul(y, a, l.w2, n, cfg.Hidden, cfg.Dim)
}

// classify computes the logits of the rows that want them.
func (p *Pass) classify(rows []Row, x, y []float32) {
	cfg, n := p.m.cfg, 0
	for i, r := range rows {
		if r.Logits != nil {
			rmsNorm(y[n*cfg.Dim:(n+1)*cfg.Dim], x[i*cfg.Dim:(i+1)*cfg.Dim], p.m.norm)
			n++
		}
	}
	out := fit(&p.logits, n*cfg.Vocab)
	p.team.matmul(out, y, p.m.head, n, cfg.Dim, cfg.Vocab)
	for _, r := range rows {
		if r.Logits != nil {
			copy(r.Logits, out[:cfg.Vocab])
			out = out[cfg.Vocab:]
		}
	}
}

// head is one key/value head as one row sees it.
type head struct {
	c            *Cache
	keys, values []byte
	row          Row
	from, width  int // elements within a token's keys
}

// attend sets out to the attention of the query heads q that share h. scores
// is room for one weight per query head and position.
func (h head) attend(out, q, scores []float32) {
	n := h.row.Pos + 1
	group := len(q) / h.width
	scale := float32(math.Sqrt(float64(h.width)))
	h.each(h.keys, func(pos int, b []byte) {
		for g := range group {
			scores[g*n+pos] = dotBF16(q[g*h.width:(g+1)*h.width], b) / scale
		}
	})
	for g := range group {
		softmax(scores[g*n : (g+1)*n])
	}
	clear(out)
	h.each(h.values, func(pos int, b []byte) {
		for g := range group {
			addBF16(out[g*h.width:(g+1)*h.width], b, scores[g*n+pos])
		}
	})
}

// each calls f with the head's bytes of every position up to the row's own.
func (h head) each(slab []byte, f func(pos int, b []byte)) {
	for pos := 0; pos <= h.row.Pos; {
		page := h.c.page(slab, h.row.Pages[pos/h.c.PageTokens])
		for at := 2 * h.from; at < len(page) && pos <= h.row.Pos; at += h.c.rowBytes {
			f(pos, page[at:at+2*h.width])
			pos++
		}
	}
}

// dotBF16 returns the dot product of q and the bf16 values in b.
func dotBF16(q []float32, b []byte) float32 {
	var s float32
	b = b[:2*len(q)]
	for i, v := range q {
		s += float32(v * unbf16(b[2*i], b[2*i+1]))
	}
	return s
}

// addBF16 adds w times the bf16 values in b to out.
func addBF16(out []float32, b []byte, w float32) {
	b = b[:2*len(out)]
	for i := range out {
		out[i] += float32(w * unbf16(b[2*i], b[2*i+1]))
	}
}
