package model

// pair is a candidate for a merge: the tokens at left and at its successor.
type pair struct {
	left, right int // positions
	a, b        int32
	to          int32
	score       float32
}

// before reports whether p is merged before q: the higher score, then the
// left one.
func (p pair) before(q pair) bool {
	if p.score != q.score {
		return p.score > q.score
	}
	return p.left < q.left
}

// pairs is a binary heap of candidates, the best first.
type pairs []pair

func (h *pairs) push(p pair) {
	*h = append(*h, p)
	q := *h
	for i := len(q) - 1; i > 0 && q[i].before(q[(i-1)/2]); i = (i - 1) / 2 {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
	}
}

func (h *pairs) pop() pair {
	q := *h
	top, n := q[0], len(q)-1
	q[0] = q[n]
	q = q[:n]
	for i := 0; ; {
		best := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if q[c].before(q[best]) {
				best = c
			}
		}
		if best == i {
			*h = q
			return top
		}
		q[i], q[best] = q[best], q[i]
		i = best
	}
}

// merge merges neighbouring tokens until no merged piece exists. The heap
// makes a long prompt cost n log n instead of n squared; candidates whose
// tokens were merged away meanwhile are recognised and skipped.
func (t *Tokenizer) merge(tokens []int32) []int32 {
	n := len(tokens)
	next, prev := make([]int, n), make([]int, n)
	var candidates pairs
	offer := func(l, r int) {
		if l < 0 || r >= n {
			return
		}
		if to, ok := t.ids[t.pieces[tokens[l]]+t.pieces[tokens[r]]]; ok && tokens[l] > End && tokens[r] > End {
			candidates.push(pair{l, r, tokens[l], tokens[r], to, t.scores[to]})
		}
	}
	for i := range tokens {
		next[i], prev[i] = i+1, i-1
		offer(i-1, i)
	}
	for len(candidates) > 0 {
		p := candidates.pop()
		if tokens[p.left] != p.a || next[p.left] != p.right || tokens[p.right] != p.b {
			continue
		}
		tokens[p.left], tokens[p.right] = p.to, gone
		next[p.left] = next[p.right]
		if next[p.left] < n {
			prev[next[p.left]] = p.left
		}
		offer(prev[p.left], p.left)
		offer(p.left, next[p.left])
	}
	out := tokens[:0]
	for i := 0; i < n; i = next[i] {
		out = append(out, tokens[i])
	}
	return out
}

// gone marks a position whose token was merged into the one before.
const gone int32 = -1
