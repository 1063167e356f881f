package planes

// stripe is a part of a segment that is walked from top to bottom, or several
// side by side.
type stripe struct {
	col, width int // first channel, channels of one
	fold       int // rows of a group
	count      int // how many there are
}

// part is a stripe, or several side by side, and what they take of a block.
type part struct {
	stripe
	values int
	planes int // bytes of both planes
}

// maxParts is one for stripes of 64 channels and one for each digit of the
// rest.
const maxParts = 7

// plan is how segments are walked whose rows are not zero.
type plan struct {
	rows, cols int
	values     int  // of all parts
	planes     int  // bytes of the planes of all parts
	even       bool // there are none but full groups
	count      int
	all        [maxParts]part
}

// parts are those of the plan.
func (p *plan) parts() []part { return p.all[:p.count] }

// of makes p the plan of segments of rows of cols values and returns it.
func (p *plan) of(rows, cols int) *plan {
	if p.rows == rows && p.cols == cols {
		return p
	}
	*p = plan{rows: rows, cols: cols, values: rows * cols, even: true}
	stripes(cols, func(s stripe) {
		one := part{stripe: s, values: rows * s.width * s.count, planes: 2 * s.count * planeBytes(rows*s.width)}
		p.all[p.count] = one
		p.planes += one.planes
		p.even = p.even && one.values%lanes == 0
		p.count++
	})
	return p
}

// stripes calls f with the stripes of cols channels.
func stripes(cols int, f func(s stripe)) {
	if cols >= lanes {
		f(stripe{0, lanes, 1, cols / lanes})
	}
	c := cols &^ (lanes - 1)
	for w := lanes / 2; w > 0; w /= 2 {
		if cols&w != 0 {
			f(stripe{c, w, lanes / w, 1})
			c += w
		}
	}
}

// planeBytes is the length of a bit plane of n values in groups of 64.
func planeBytes(n int) int { return n/lanes*(lanes/8) + (n%lanes+7)/8 }
