package model

import "container/heap"

// pair is a candidate for a merge: the tokens at left and at its successor.
type pair struct {
	left, right int // positions
	a, b        int32
	to          int32
	score       float32
}

// pairs is a heap of candidates, the best first: the highest score, then the
// leftmost.
type pairs []pair

var _ heap.Interface = (*pairs)(nil)

func (p pairs) Len() int      { return len(p) }
func (p pairs) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p pairs) Less(i, j int) bool {
	if p[i].score != p[j].score {
		return p[i].score > p[j].score
	}
	return p[i].left < p[j].left
}

// Push implements heap.Interface.
func (p *pairs) Push(x any) { *p = append(*p, x.(pair)) }

// Pop implements heap.Interface.
func (p *pairs) Pop() any {
	n := len(*p) - 1
	x := (*p)[n]
	*p = (*p)[:n]
	return x
}

// merge merges neighbouring tokens until no merged piece exists. The heap
// makes a long prompt cost n log n instead of n squared; candidates whose
// tokens were merged away meanwhile are recognised and skipped.
func (t *Tokenizer) merge(tokens []int32) []int32 {
	n := len(tokens)
	next, prev := make([]int, n), make([]int, n)
	var heapOf pairs
	offer := func(l, r int) {
		if l < 0 || r >= n {
			return
		}
		if to, ok := t.ids[t.pieces[tokens[l]]+t.pieces[tokens[r]]]; ok && tokens[l] > End && tokens[r] > End {
			heap.Push(&heapOf, pair{l, r, tokens[l], tokens[r], to, t.scores[to]})
		}
	}
	for i := range tokens {
		next[i], prev[i] = i+1, i-1
		offer(i-1, i)
	}
	for len(heapOf) > 0 {
		p := heap.Pop(&heapOf).(pair)
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
