package events

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/msg"
)

// check walks over a ledger: every entry is found by its key, is needed, and has
// as many references as there are entries behind it.
func (l *ledger) check(t *testing.T) {
	refs, live := map[uint32]uint32{}, 0
	for id := uint32(firstID); id < l.next; id++ {
		e := l.at(id)
		if e.kind == 0 {
			continue
		}
		live++
		k := l.key(id)
		require.Equal(t, id, l.findKey(&k, e.group))
		require.True(t, e.tiers != 0 || e.refs != 0, "entry %d is of no use", id)
		if e.parent >= firstID {
			require.NotZero(t, l.at(e.parent).kind, "entry %d is behind one that is free", id)
			refs[e.parent]++
		}
	}
	require.Equal(t, l.live, live)
	require.Equal(t, l.used, live)
	for id := uint32(firstID); id < l.next; id++ {
		require.Equal(t, refs[id], l.at(id).refs, "references of %d", id)
	}
	free := 0
	for id := l.free; id != 0; id = l.at(id).parent {
		free++
	}
	require.Equal(t, int(l.next)-firstID, live+free)
}

// findKey finds a key that it meets before.
func (l *ledger) findKey(k *key, group uint32) uint32 {
	ks := []key{*k}
	l.meet(ks, group, false)
	return l.find(&ks[0], group)
}

// internKey interns a key that it meets before.
func (l *ledger) internKey(k *key, group uint32) uint32 {
	ks := []key{*k}
	l.meet(ks, group, true)
	return l.intern(&ks[0], group)
}

func keyOf(s string) *key {
	var k key
	k.setText(s)
	return &k
}

func TestLedgerRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newLedger(150)
		for step := range 3000 {
			k := keyOf([]string{fmt.Sprint(r.IntN(60)), fmt.Sprintf("%064x", r.IntN(60)), strings.Repeat("x", 40+r.IntN(20))}[r.IntN(3)])
			group := uint32(r.IntN(2))
			switch r.IntN(3) {
			case 0, 1:
				id := l.internKey(k, group)
				if id == 0 {
					require.True(t, l.full())
					continue
				}
				l.at(id).tiers |= mask(index.Tier(1 + r.IntN(2)))
				parent := l.findKey(keyOf(fmt.Sprint(r.IntN(60))), group)
				if r.IntN(3) == 0 {
					parent = uint32(r.IntN(2))
				}
				l.setParent(id, parent)
			case 2:
				if id := l.findKey(k, group); id != 0 {
					l.at(id).tiers &^= mask(index.Tier(1 + r.IntN(2)))
					l.drop(id)
				}
			}
			if step%100 == 0 {
				l.check(t)
			}
		}
		l.check(t)
		l.reset()
		l.check(t)
	}
}

// A block that says it is behind itself, or in a ring, costs an entry and no more.
func TestLedgerRing(t *testing.T) {
	t.Parallel()
	l := newLedger(10)
	a, b := l.internKey(keyOf("1"), 0), l.internKey(keyOf("2"), 0)
	l.at(a).tiers, l.at(b).tiers = 1, 1
	l.setParent(a, b)
	l.setParent(b, a)
	l.setParent(a, a)
	l.at(a).tiers = 0
	l.drop(a)
	l.at(b).tiers = 0
	l.drop(b)
	l.check(t)
}

func TestKeyTexts(t *testing.T) {
	t.Parallel()
	kinds := map[string]keyKind{
		"0": keyInt, "18446744073709551615": keyInt, "-1": keyMinus, "-9223372036854775808": keyMinus,
		"ab": keyBytes, strings.Repeat("0f", 32): keyBytes, "AB": keyText, "abc": keyText, "": keyText, "00": keyBytes, "007": keyText, "-0": keyText,
		"h0": keyText, "ハッシュ": keyText, "+1": keyText, "18446744073709551616": keyBytes, strings.Repeat("x", 33): keyLong, strings.Repeat("0f", 33): keyLong,
	}
	var a arena
	for s, kind := range kinds {
		k := keyOf(s)
		require.Equal(t, kind, k.kind, s)
		require.Equal(t, s, a.text(k))
	}
	for _, h := range []msg.Hash{
		{Kind: msg.Int, Int: 7},
		{Kind: msg.Negative, Int: 1 << 63},
		{Kind: msg.Bytes, Bytes: []byte("0123456789abcdef0123456789abcdef")},
		{Kind: msg.Bytes, Bytes: make([]byte, 40)},
		{Kind: msg.Text, Bytes: []byte("h0")},
	} {
		var k key
		k.setHash(&h)
		require.Equal(t, h.String(), a.text(&k))
		require.Equal(t, k, *keyOf(h.String()), "a hash and its text have one key")
	}
}

// Texts stay as they were when the arena goes on.
func TestArenaKeeps(t *testing.T) {
	t.Parallel()
	var a arena
	var texts []string
	for i := range 10000 {
		texts = append(texts, a.text(keyOf(fmt.Sprint(i*7919))))
	}
	for i, s := range texts {
		require.Equal(t, fmt.Sprint(i*7919), s)
	}
	long := strings.Repeat("y", 3*arenaBytes)
	require.Equal(t, long, a.text(keyOf(long)))
}
