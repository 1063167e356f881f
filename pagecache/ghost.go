package pagecache

const (
	ghostWays  = 4
	firstGhost = 64
)

// ghost remembers pages that were evicted after one use, as many as it is told
// to: one that comes back soon was worth keeping. It is a table of sets; a set
// that is full forgets its oldest. An entry is a piece of the hash and the
// time of the eviction, counted in evictions, so a page is taken for another
// one once in some 2^30 times.
type ghost struct {
	entries []uint64 // tag<<32 | time; 0 is none
	now     uint32
	keep    uint32
}

func tagOf(hash uint64) uint64 { return hash >> 8 & (1<<32 - 1) }

// set returns the entries where a tag may be.
func (g *ghost) set(tag uint64) []uint64 {
	i := int(tag*0x9E3779B97F4A7C15>>34) & (len(g.entries)/ghostWays - 1) * ghostWays
	return g.entries[i : i+ghostWays]
}

// fresh tells whether an entry is still remembered.
func (g *ghost) fresh(e uint64) bool { return e != 0 && g.now-uint32(e) < g.keep }

// add remembers a page, one of keep.
func (g *ghost) add(hash uint64, keep int) {
	g.keep = uint32(keep)
	if 2*keep > len(g.entries) {
		g.grow(2 * keep)
	}
	g.now++
	g.put(tagOf(hash)<<32 | uint64(g.now))
}

func (g *ghost) put(e uint64) {
	set := g.set(e >> 32)
	oldest := 0
	for i, o := range set {
		if o>>32 == e>>32 || !g.fresh(o) {
			oldest = i
			break
		}
		if g.now-uint32(o) > g.now-uint32(set[oldest]) {
			oldest = i
		}
	}
	set[oldest] = e
}

func (g *ghost) grow(entries int) {
	size := firstGhost
	for size < entries {
		size *= 2
	}
	old := g.entries
	g.entries = make([]uint64, size)
	for _, e := range old {
		if g.fresh(e) {
			g.put(e)
		}
	}
}

// take tells whether a page is remembered, and forgets it.
func (g *ghost) take(hash uint64) bool {
	if len(g.entries) == 0 {
		return false
	}
	tag := tagOf(hash)
	set := g.set(tag)
	for i, e := range set {
		if e>>32 == tag && g.fresh(e) {
			set[i] = 0
			return true
		}
	}
	return false
}
