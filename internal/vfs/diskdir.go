package vfs

import "slices"

// slot is the place of a name in a directory.
type slot struct {
	dir  *node
	base string
}

// dirOp is an operation on directories: node leaves the name from, if that has
// a directory, and gets the name to, if that has one. Both happen or neither.
type dirOp struct {
	node     *node
	from, to slot
}

// slots returns the places that op concerns.
func (op *dirOp) slots() []slot {
	var all []slot
	for _, s := range []slot{op.from, op.to} {
		if s.dir != nil {
			all = append(all, s)
		}
	}
	return all
}

// changeLocked does op for the processes to see. It is not durable yet.
func (d *Disk) changeLocked(op *dirOp) {
	if op.from.dir != nil {
		delete(op.from.dir.entries, op.from.base)
	}
	if op.to.dir != nil {
		if old := op.to.dir.entries[op.to.base]; old != nil {
			old.linked = false
			d.releaseLocked(old)
		}
		op.to.dir.entries[op.to.base] = op.node
	}
	op.node.linked = op.to.dir != nil
	d.releaseLocked(op.node)
	d.journal = append(d.journal, op)
}

// settle makes op durable. Its node may have another durable name than op says,
// if an operation before it was lost.
func (op *dirOp) settle() {
	if op.from.dir != nil {
		delete(op.from.dir.durable, op.from.base)
	}
	if s := op.node.place; s.dir != nil && s.dir.durable[s.base] == op.node {
		delete(s.dir.durable, s.base)
	}
	if op.to.dir != nil {
		op.to.dir.durable[op.to.base] = op.node
	}
	op.node.place = op.to
}

// syncDirLocked makes the operations on a directory durable, and those before
// that they build upon: what else happened to the same names.
func (d *Disk) syncDirLocked(dir *node) {
	names, due := map[slot]bool{}, map[*dirOp]bool{}
	for _, op := range slices.Backward(d.journal) {
		for _, s := range op.slots() {
			due[op] = due[op] || s.dir == dir || names[s]
		}
		for _, s := range op.slots() {
			names[s] = names[s] || due[op]
		}
	}
	d.journal = slices.DeleteFunc(d.journal, func(op *dirOp) bool {
		if due[op] {
			op.settle()
		}
		return due[op]
	})
}

// dropDirLocked forgets that the operations on a directory are not durable.
func (d *Disk) dropDirLocked(dir *node) {
	d.journal = slices.DeleteFunc(d.journal, func(op *dirOp) bool {
		return op.from.dir == dir || op.to.dir == dir
	})
}

// survive makes those of the operations durable that keep accepts, less those
// that build upon one which is lost. There are no others left.
func (d *Disk) survive(keep func() bool) {
	lost := map[slot]bool{}
	for _, op := range d.journal {
		alive := keep()
		for _, s := range op.slots() {
			alive = alive && !lost[s]
		}
		for _, s := range op.slots() {
			lost[s] = lost[s] || !alive
		}
		if alive {
			op.settle()
		}
	}
	d.journal = nil
}
