package memory

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
)

// walk is what check counted.
type walk struct {
	t       testing.TB
	x       *Index
	parents map[uint32]int // nodes by scan list
	scopes  map[uint32]int64
	workers map[uint32]int64
	longs   map[uint64]int
	nodes   int
	kin     int // records in lists of kin
}

// check holds every list, table and count against each other.
func check(t testing.TB, x *Index) {
	t.Helper()
	l := locks{all, all}
	x.lock(l)
	defer x.unlock(l)
	w := walk{t, x, map[uint32]int{}, map[uint32]int64{}, map[uint32]int64{}, map[uint64]int{}, 0, 0}
	for i := range x.shards {
		require.Zero(t, x.shards[i].version.n.Load()%2)
		w.shard(uint32(i))
	}
	w.scans()
	require.EqualValues(t, total(x), w.kin)
	for _, it := range x.scopes.list() {
		same(t, w.scopes[it.id]*aUse, it.refs.Load())
	}
	require.Len(t, x.scopes.list(), len(w.scopes))
	for _, it := range x.workers.list() {
		same(t, w.workers[it.id]*aUse, it.refs.Load())
	}
	require.Len(t, x.workers.list(), len(w.workers))
	require.EqualValues(t, len(x.workersLocked()), x.countWorkers())
	require.Len(t, x.longs.text, len(w.longs))
	require.Len(t, x.longs.ids, len(w.longs))
	for id, uses := range w.longs {
		same(t, uses, x.longs.text[id].uses)
		require.Zero(t, x.longs.text[id].holds)
	}
}

// same is require.Equal, which is too slow for so many words.
func same[T comparable](t testing.TB, want, got T) {
	if want != got {
		t.Helper()
		t.Fatalf("%v, want %v", got, want)
	}
}

// refs are the references in a table.
func (t *table) refs() []uint32 {
	var list []uint32
	for _, s := range *t.slots.Load() {
		if s != 0 {
			list = append(list, uint32(s))
		}
	}
	return list
}

func (w *walk) shard(i uint32) {
	t, x, sh := w.t, w.x, &w.x.shards[i]
	for _, tab := range []*table{&sh.hashes, &sh.far, &sh.exact, &sh.kin} {
		require.Len(t, tab.refs(), tab.n)
	}
	units, records, far, exact, kin := 0, 0, 0, 0, 0
	bytes := uint64(0)
	for _, first := range sh.hashes.refs() {
		before := uint32(0)
		for at, ref := 0, first; ref != 0; at++ {
			c := x.node(ref)
			same(t, i, ref>>offsetBits)
			same(t, before, c.low(nodeHash))
			var p place
			x.load(c, &p)
			same(t, i, p.shard())
			found, _, _ := x.findNode(sh, &p)
			same(t, ref, found)
			if c.get(nodeMeta)&farBit != 0 {
				far++
			} else {
				same(t, true, at < nearNodes)
			}
			units += int(nodeUnits(p.parent.meta, p.hash.meta)) + w.runs(sh, c)
			n, e, k, own, b := w.peers(sh, ref, &p)
			records, exact, kin, bytes = records+n, exact+e, kin+k, bytes+b
			units += (n - own) * recUnits
			w.scopes[p.scope]++
			w.nodes++
			for _, s := range []*text{&p.parent, &p.hash} {
				if s.meta>>kindShift == longText {
					w.longs[s.w[0]]++
				}
			}
			before, ref = ref, c.high(nodeHash)
		}
	}
	require.EqualValues(t, sh.counts.records, records)
	same(t, sh.counts.bytes, bytes)
	same(t, units, sh.nodes.live)
	same(t, far, sh.far.n)
	same(t, exact, sh.exact.n)
	same(t, kin, sh.kin.n)
	w.owners(sh, records)
}

// runs holds a node's bits against its records, and returns how many cells it
// has for them.
func (w *walk) runs(sh *shard, c cell) int {
	want, got := map[uint32]uint64{}, map[uint32]uint64{}
	for ref := c.high(nodeRecs); ref != 0; ref = sh.rec(ref).high(recPeers) {
		r := sh.rec(ref)
		want[runTag(tierOf(r), r.high(recWorker))] |= 1 << (r.high(recWorker) % 64)
	}
	same(w.t, true, len(want) > 0)
	got[c.low(nodeRecs)] = c.get(nodeBits)
	cells := 0
	for ref := c.low(nodeMeta); ref != 0; ref = sh.nodes.cell(ref).high(0) {
		e := sh.nodes.cell(ref)
		_, double := got[e.low(0)]
		same(w.t, false, double)
		got[e.low(0)] = e.get(1)
		cells++
	}
	require.True(w.t, maps.Equal(want, got))
	return cells
}

// peers holds the records of a node against each other. own: how many lie in the
// node's cell.
func (w *walk) peers(sh *shard, node uint32, p *place) (records, exact, kin, own int, bytes uint64) {
	t, before := w.t, uint32(0)
	for ref := w.x.node(node).high(nodeRecs); ref != 0; {
		c := sh.rec(ref)
		same(t, before, c.low(recPeers))
		same(t, node, c.high(recNode))
		same(t, 0, c.get(recWorker)&doomedBit)
		target := target{*p, c.high(recWorker), tierOf(c), c.get(recIndex)}
		found, _, _ := w.x.findRecord(sh, node, &target)
		same(t, ref, found)
		if c.get(recWorker)&exactBit != 0 {
			exact++
		} else {
			same(t, true, records < nearRecords)
		}
		if c.get(recWorker)&kinBit != 0 {
			kin++
			same(t, 0, c.low(recKin))
		}
		if c.low(recKin) == 0 {
			w.kin += w.kinOf(sh, ref, p)
		}
		if ref == inner(w.x.node(node), node) {
			own++
		}
		if c.get(recWorker)&pinnedBit == 0 && c.low(recNode) == 0 {
			same(t, true, c.get(recAccess) >= sh.oldest)
		}
		records++
		bytes += c.get(recBytes)
		before, ref = ref, c.high(recPeers)
	}
	return records, exact, kin, own, bytes
}

// kinOf follows the list of kin from its first, which has to be found, and
// returns how many there are.
func (w *walk) kinOf(sh *shard, first uint32, p *place) (n int) {
	t, x := w.t, w.x
	scope, worker := &x.scopes.item(p.scope).key, sh.rec(first).high(recWorker)
	found := x.kin(sh, &p.hash, scope, worker)
	require.NotZero(t, found)
	for sh.rec(found).low(recKin) != 0 {
		found = sh.rec(found).low(recKin)
	}
	same(t, first, found)
	for ref, before := first, uint32(0); ref != 0; n++ {
		c := sh.rec(ref)
		same(t, before, c.low(recKin))
		same(t, worker, c.high(recWorker))
		node := x.node(c.high(recNode))
		same(t, true, hasHash(node, &p.hash) && x.inFamily(node.high(nodeKey), scope))
		before, ref = ref, c.high(recKin)
	}
	return n
}

// owners holds the lists of workers against the records.
func (w *walk) owners(sh *shard, records int) {
	sum := 0
	for id, o := range sh.workers {
		n, before := uint32(0), uint32(0)
		for ref := o.first; ref != 0; {
			c := sh.rec(ref)
			same(w.t, before, c.low(recMine))
			same(w.t, uint32(id), c.high(recWorker))
			n++
			before, ref = ref, c.high(recMine)
		}
		same(w.t, o.n, n)
		if n > 0 {
			w.workers[uint32(id)]++
		}
		sum += int(n)
	}
	same(w.t, records, sum)
}

// scans holds the lists of parents against the nodes.
func (w *walk) scans() {
	nodes := 0
	for i := range w.x.scans {
		sc := &w.x.scans[i]
		require.Len(w.t, sc.parents.refs(), sc.parents.n)
		for _, first := range sc.parents.refs() {
			var p place
			w.x.load(w.x.node(first), &p)
			h := w.x.scanHash(p.scope, p.parent.hash)
			require.EqualValues(w.t, i, h>>(64-shardBits))
			same(w.t, first, w.x.firstOfParent(sc, h, p.scope, &p.parent))
			before := uint32(0)
			for ref := first; ref != 0; {
				c := w.x.node(ref)
				same(w.t, before, c.low(nodeScan))
				same(w.t, p.scope, c.high(nodeKey))
				same(w.t, true, hasParent(c, &p.parent))
				nodes++
				before, ref = ref, c.high(nodeScan)
			}
		}
	}
	same(w.t, w.nodes, nodes)
}

// total is how many records an index has.
func total(x *Index) (n uint64) {
	for i := range x.shards {
		n += x.shards[i].counts.records
	}
	return n
}

func requireEmpty(t testing.TB, x *Index) {
	t.Helper()
	check(t, x)
	require.Zero(t, total(x))
	for i := range x.shards {
		require.Zero(t, x.shards[i].hashes.n)
		require.Zero(t, x.scans[i].parents.n)
	}
	require.Empty(t, x.scopes.list())
	require.Empty(t, x.workers.list())
	require.Empty(t, x.longs.text)
}
