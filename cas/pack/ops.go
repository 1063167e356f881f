package pack

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// The kinds of operations in a transaction; see the package comment for their
// bytes. Every operation says what is, not what changes, so that applying a
// stretch of the log twice in order ends where applying it once does. A
// checkpoint that is taken while the log goes on rests on that.
const (
	opAdd        = 1
	opRemove     = 2
	opDrop       = 3
	opSnapshot   = 4
	opName       = 5
	opUnname     = 6
	opForget     = 7
	opQuarantine = 8
	opCondemn    = 9
	opPardon     = 10
	opPack       = 11
)

const (
	unitBytes = 64       // offsets and sizes of records are multiples of it
	listMax   = 64 << 10 // blobs in one operation that we write
	textMax   = 1 << 10  // bytes of a format or name
	sumBytes  = digest.Size + 1
)

// stored is a blob in a pack.
type stored struct {
	d     digest.Digest
	off   int64
	bytes int64
}

// ops builds the payload of a transaction.
type ops []byte

func (o *ops) kind(k byte)      { *o = append(*o, k) }
func (o *ops) number(n uint64)  { *o = binary.AppendUvarint(*o, n) }
func (o *ops) text(s string)    { o.number(uint64(len(s))); *o = append(*o, s...) }
func (o *ops) time(t time.Time) { *o = binary.LittleEndian.AppendUint64(*o, uint64(t.UnixNano())) }

func (o *ops) digest(d digest.Digest) {
	sum := d.Sum()
	*o = append(append(*o, byte(d.Algorithm())), sum[:]...)
}

// add says where blobs are. They lie in ascending order in one pack.
func (o *ops) add(pack uint64, class cas.Class, newest int64, blobs []stored) {
	o.kind(opAdd)
	o.number(pack)
	o.number(uint64(class))
	o.number(uint64(newest))
	o.list(blobs, true)
}

// list writes blobs, which lie in ascending order.
func (o *ops) list(blobs []stored, sizes bool) {
	o.number(uint64(len(blobs)))
	end := int64(0)
	for _, b := range blobs {
		o.digest(b.d)
		o.number(uint64(b.off-end) / unitBytes)
		end = b.off
		if sizes {
			o.number(uint64(b.bytes) / unitBytes)
			end += b.bytes
		}
	}
}

// remove says that blobs are no longer in the pack.
func (o *ops) remove(pack uint64, blobs []stored) {
	o.kind(opRemove)
	o.number(pack)
	o.list(blobs, false)
}

// drop says that a pack is gone with all that is still in it.
func (o *ops) drop(pack uint64) { o.kind(opDrop); o.number(pack) }

func (o *ops) snapshot(e cas.Entry) {
	o.kind(opSnapshot)
	o.digest(e.Root)
	o.text(string(e.Format))
	o.time(e.Created)
	o.number(uint64(e.Pages))
	o.number(uint64(e.Sequences))
	o.number(uint64(e.Bytes))
	if e.Image.Valid() {
		o.number(1)
		o.digest(e.Image)
	} else {
		o.number(0)
	}
}

func (o *ops) name(name string, root digest.Digest) { o.kind(opName); o.text(name); o.digest(root) }
func (o *ops) unname(name string)                   { o.kind(opUnname); o.text(name) }
func (o *ops) forget(root digest.Digest)            { o.kind(opForget); o.digest(root) }

func (o *ops) quarantine(pack uint64, b stored) {
	o.kind(opQuarantine)
	o.number(pack)
	o.list([]stored{b}, true)
}

// condemn says that a collector is about to remove blobs.
func (o *ops) condemn(pack uint64, blobs []stored) {
	o.kind(opCondemn)
	o.number(pack)
	o.list(blobs, false)
}

// pardon takes back every condemnation.
func (o *ops) pardon() { o.kind(opPardon) }

// pack describes a pack in a checkpoint.
func (o *ops) pack(p *packInfo) {
	o.kind(opPack)
	o.number(p.id)
	o.number(uint64(p.class))
	o.number(uint64(p.end.Load()))
	o.number(uint64(p.newest.Load()))
}

// applier is told the operations of a transaction.
type applier interface {
	add(pack uint64, class cas.Class, newest int64, b stored) error
	remove(pack uint64, d digest.Digest, off int64) error
	drop(pack uint64) error
	snapshot(e cas.Entry)
	name(name string, root digest.Digest)
	unname(name string)
	forget(root digest.Digest)
	quarantine(pack uint64, b stored) error
	condemn(pack uint64, d digest.Digest, off int64)
	pardon()
	pack(id uint64, class cas.Class, end, newest int64) error
}

// opReader reads the bytes of operations. After the first error everything
// reads as zero.
type opReader struct {
	b   []byte
	err error
}

func (r *opReader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("pack: transaction: %s: %w", why, kvferry.ErrCorrupt)
	}
	r.b = nil
}

func (r *opReader) number(limit uint64) uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 || n > limit {
		r.fail("a number is cut or too large")
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *opReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail("it is cut")
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *opReader) text() string { return string(r.bytes(int(r.number(textMax)))) }

func (r *opReader) time() time.Time {
	b := r.bytes(8)
	if b == nil {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
}

func (r *opReader) digest() digest.Digest {
	b := r.bytes(sumBytes)
	if b == nil {
		return digest.Digest{}
	}
	a := digest.Algorithm(b[0])
	if !a.Valid() {
		r.fail("a digest has no known algorithm")
		return digest.Digest{}
	}
	return digest.New(a, [digest.Size]byte(b[1:]))
}

// list reads blobs and tells them to visit.
func (r *opReader) list(sizes bool, visit func(stored) error) {
	n := r.number(uint64(len(r.b)) / sumBytes)
	end := int64(0)
	for range n {
		b := stored{d: r.digest()}
		b.off = end + int64(r.number(maxPackBytes/unitBytes))*unitBytes
		end = b.off
		if sizes {
			b.bytes = int64(r.number(maxRecordBytes/unitBytes)) * unitBytes
			end += b.bytes
		}
		if r.err == nil && b.off >= maxPackBytes {
			r.fail("a blob lies beyond the end of any pack")
		}
		if r.err != nil {
			return
		}
		if err := visit(b); err != nil {
			r.err, r.b = err, nil
			return
		}
	}
}

func (r *opReader) class() cas.Class { return cas.Class(r.number(uint64(cas.Cache))) }

// apply tells a the operations of a payload in order.
func apply(payload []byte, a applier) error {
	r := &opReader{b: payload}
	for len(r.b) > 0 {
		applyOne(r, a)
	}
	return r.err
}

func applyOne(r *opReader, a applier) {
	const whatever = 1<<64 - 1
	switch kind := r.bytes(1)[0]; kind {
	case opAdd:
		id, class, newest := r.number(whatever), r.class(), int64(r.number(1<<62))
		r.list(true, func(b stored) error { return a.add(id, class, newest, b) })
	case opRemove:
		id := r.number(whatever)
		r.list(false, func(b stored) error { return a.remove(id, b.d, b.off) })
	case opCondemn:
		id := r.number(whatever)
		r.list(false, func(b stored) error { a.condemn(id, b.d, b.off); return nil })
	case opQuarantine:
		id := r.number(whatever)
		r.list(true, func(b stored) error { return a.quarantine(id, b) })
	case opDrop:
		if id := r.number(whatever); r.err == nil {
			r.err = a.drop(id)
		}
	case opPack:
		id, class := r.number(whatever), r.class()
		end, newest := int64(r.number(maxPackBytes+maxRecordBytes)), int64(r.number(1<<62))
		if r.err == nil {
			r.err = a.pack(id, class, end, newest)
		}
	case opPardon:
		a.pardon()
	default:
		applyCatalog(r, a, kind)
	}
	if r.err != nil {
		r.b = nil
	}
}

func applyCatalog(r *opReader, a applier, kind byte) {
	switch kind {
	case opSnapshot:
		e := cas.Entry{Root: r.digest(), Format: cas.Format(r.text()), Created: r.time()}
		const most = 1<<63 - 1
		e.Pages, e.Sequences, e.Bytes = int64(r.number(most)), int64(r.number(most)), int64(r.number(most))
		if r.number(1) == 1 {
			e.Image = r.digest()
		}
		if r.err == nil {
			a.snapshot(e)
		}
	case opName:
		if name, root := r.text(), r.digest(); r.err == nil {
			a.name(name, root)
		}
	case opUnname:
		if name := r.text(); r.err == nil {
			a.unname(name)
		}
	case opForget:
		if root := r.digest(); r.err == nil {
			a.forget(root)
		}
	default:
		r.err = fmt.Errorf("pack: transaction has an operation of kind %d: %w", kind, kvferry.ErrUnsupported)
	}
}
