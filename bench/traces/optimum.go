package traces

import "math"

// Optimum returns how many references the best possible cache of so many blocks
// serves, one that knows what will be asked for: it leaves out, or evicts, the
// block that is asked for last again (Belady).
func Optimum(t *Trace, capacity int) int {
	next := nexts(t.Refs)
	here := make(map[uint64]int, capacity)
	byNext := queue[use]{before: func(a, b use) bool { return a.next > b.next }}
	hits := 0
	for i, block := range t.Refs {
		if _, ok := here[block]; ok {
			hits++
		} else if len(here) == capacity {
			// Entries of blocks that were asked for since are behind the times.
			for byNext.items[0].next != here[byNext.items[0].block] {
				byNext.pop()
			}
			if byNext.items[0].next <= next[i] {
				continue
			}
			delete(here, byNext.pop().block)
		}
		here[block] = next[i]
		byNext.push(use{next[i], block})
	}
	return hits
}

// nexts returns when each reference's block is asked for again; never is a
// number of its own for each, so that no two uses are equal.
func nexts(refs []uint64) []int {
	next := make([]int, len(refs))
	later := make(map[uint64]int)
	for i := len(refs) - 1; i >= 0; i-- {
		at, ok := later[refs[i]]
		if !ok {
			at = math.MaxInt - i
		}
		next[i], later[refs[i]] = at, i
	}
	return next
}

// use is a block and when it is asked for next.
type use struct {
	next  int
	block uint64
}
