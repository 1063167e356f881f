package manifest

import (
	"fmt"

	"github.com/kvferry/kvferry/digest"
)

// Table holds the digests of the parts of each page of a group, all made with
// one algorithm. It is a small value; copies share the digests.
type Table struct {
	alg   digest.Algorithm
	pages int
	parts int
	sums  []byte // pages x parts x 32 bytes
}

// NewTable returns a table for pages pages of parts parts each, every sum
// zero. It takes pages x parts x 32 bytes. A negative count or an unknown
// algorithm is a programming error and panics.
func NewTable(alg digest.Algorithm, pages, parts int) Table {
	if !alg.Valid() || pages < 0 || parts < 0 {
		panic(fmt.Sprintf("manifest: table of %d pages x %d parts with algorithm %d", pages, parts, alg))
	}
	return Table{alg: alg, pages: pages, parts: parts, sums: make([]byte, pages*parts*digest.Size)}
}

// Pages returns the number of pages.
func (t Table) Pages() int { return t.pages }

// Parts returns the number of parts of a page.
func (t Table) Parts() int { return t.parts }

// Algorithm returns the algorithm of every digest in t.
func (t Table) Algorithm() digest.Algorithm { return t.alg }

// Digest returns the digest of a part of a page. It panics where there is no
// such page or part.
func (t Table) Digest(page, part int) digest.Digest {
	return digest.New(t.alg, [digest.Size]byte(t.at(page, part)))
}

// Row returns the sums of all parts of a page, one after the other: equal rows
// are equal pages. The bytes are the table's own and must not be changed.
func (t Table) Row(page int) []byte {
	row := t.parts * digest.Size
	return t.sums[page*row : (page+1)*row : (page+1)*row]
}

// SetRow replaces the sums of all parts of a page by those of a page of another
// table. Tables of different algorithms or parts are a programming error and
// panic.
func (t Table) SetRow(page int, from Table, fromPage int) {
	if from.alg != t.alg || from.parts != t.parts {
		panic(fmt.Sprintf("manifest: row of %d parts of %v in a table of %d parts of %v", from.parts, from.alg, t.parts, t.alg))
	}
	copy(t.Row(page), from.Row(fromPage))
}

// Set replaces the digest of a part of a page. Calls for different pages may
// be concurrent. A digest of another algorithm is a programming error and
// panics.
func (t Table) Set(page, part int, d digest.Digest) {
	if d.Algorithm() != t.alg {
		panic(fmt.Sprintf("manifest: digest %v in a table of %v", d, t.alg))
	}
	sum := d.Sum()
	copy(t.at(page, part), sum[:])
}

func (t Table) at(page, part int) []byte {
	if uint(page) >= uint(t.pages) || uint(part) >= uint(t.parts) {
		panic(fmt.Sprintf("manifest: part %d of page %d in a table of %d pages x %d parts", part, page, t.pages, t.parts))
	}
	off := (page*t.parts + part) * digest.Size
	return t.sums[off : off+digest.Size]
}

// rows returns the sums of count pages from page first on.
func (t Table) rows(first, count int) []byte {
	row := t.parts * digest.Size
	return t.sums[first*row : (first+count)*row]
}
