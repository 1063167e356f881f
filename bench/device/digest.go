package main

import (
	"fmt"
	"time"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// What the kernels' machine code for one 64-byte block takes on the pipe of
// adds, logic and shifts, which does 64 lanes in a clock on each multiprocessor;
// every kibibyte is 16 blocks and about one parent.
const (
	blockOperations  = 578
	parentOperations = 600
	lanes            = 64
)

// ceiling is the rate in bytes per second that integer instructions allow.
func ceiling(f cuda.Facts) float64 {
	perSecond := float64(f.Multiprocessors) * float64(f.ClockKHz) * 1e3 * lanes
	return perSecond * 1024 / (16*blockOperations + parentOperations)
}

// measureDigest hashes canonical pages of several sets, and a cache in place.
func measureDigest(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	f := b.device.Facts()
	limit := ceiling(f)
	if err := b.fact("ceiling", fmt.Sprintf("%s: %d multiprocessors, %d MHz, %d lanes, %d operations for 64 bytes and %d for each parent; additions as products run elsewhere and are not in it",
		perSecond.text(limit), f.Multiprocessors, f.ClockKHz/1000, lanes, blockOperations, parentOperations)); err != nil {
		return err
	}
	largest := b.scale.digestBytes[len(b.scale.digestBytes)-1]
	for _, size := range b.scale.digestBytes {
		rows, err := b.variants(size, limit, size == largest)
		if err != nil {
			return err
		}
		if size == largest {
			if err := b.journal.add(fastest(rows)); err != nil {
				return err
			}
		}
	}
	return b.inPlace(largest, limit)
}

// hashWay is a kernel, by the choices in its request.
type hashWay struct {
	what string
	hash kernels.Hash
}

// ways are the kernels that hash canonical pages: which is the fastest is for a
// device to tell.
func ways() []hashWay {
	return []hashWay{
		{"canonical pages, read directly", kernels.Hash{}},
		{"canonical pages, read through tiles", kernels.Hash{Tile: true}},
		{"canonical pages, some additions as products", kernels.Hash{Multiply: true}},
	}
}

// variants hashes canonical pages by each of them.
func (b *bench) variants(size int64, limit float64, clocks bool) ([]*row, error) {
	var rows []*row
	for _, w := range ways() {
		r := &row{What: w.what, With: "set of " + bytesText(size), Goal: goalTile}
		err := b.measure(r, func(r *row) error {
			h, err := b.hashing(size)
			if err != nil {
				return err
			}
			ask := h.request()
			ask.Tile, ask.Multiply = w.hash.Tile, w.hash.Multiply
			return b.hash(r, h, limit, clocks, func(q *cuda.Submission) error {
				return b.set.HashPages(q, h.pages.Ptr(), int64(h.meta.PageBytes()), ask)
			}, func(data pattern, page []byte, id int) { data.copy(page, int64(id)*int64(h.meta.PageBytes())) })
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// fastest is the row with the highest rate, as the answer to the digest's goal. One whose
// bytes were wrong wins, so that they are not passed over.
func fastest(rows []*row) *row {
	best := &row{Part: rows[0].Part, What: "the fastest of them", With: rows[0].With, Goal: goalDigest, Error: "none was measured", Missing: true}
	for _, r := range rows {
		wrong := r.Check != "" && r.Check != checkOK
		if r.Error == "" && (len(best.Samples) == 0 || wrong || median(r.Samples) > median(best.Samples)) {
			best.Unit, best.Bytes, best.Samples, best.Check, best.Note = r.Unit, r.Bytes, r.Samples, r.Check, r.What+"; "+r.Note
			best.Error, best.Missing = "", false
		}
		if wrong {
			break
		}
	}
	return best
}

// inPlace hashes the pages of a cache where they are.
func (b *bench) inPlace(size int64, limit float64) error {
	return b.measure(&row{What: "in place", With: "runs of 8 KiB, set of " + bytesText(size), Goal: goalTile}, func(r *row) error {
		h, err := b.hashing(size)
		if err != nil {
			return err
		}
		l, err := pager.KVOutermost(h.meta, h.count)
		if err != nil {
			return err
		}
		runs, err := b.runs(l, h.pages.Ptr())
		if err != nil {
			return err
		}
		return b.hash(r, h, limit, false, func(q *cuda.Submission) error {
			return runs.HashInPlace(q, h.numbers.Ptr(), h.request())
		}, func(data pattern, page []byte, id int) {
			pieces(l, places(l), pager.PageID(id), func(at, canonical, bytes int64) bool {
				data.copy(page[canonical:canonical+bytes], at)
				return true
			})
		})
	})
}

// oneSample is about how many bytes are hashed while one sample is taken: a few
// milliseconds of work, so that the end of it is no part of the figure.
const oneSample = 8 << 30

// canonical writes the bytes that page id has under the pattern.
type canonical func(data pattern, page []byte, id int)

// hash fills a row with the rate of what add queues, and holds digests against
// those of the pages as they have to be.
func (b *bench) hash(r *row, h hashing, limit float64, clocks bool, add func(*cuda.Submission) error, page canonical) error {
	size := int64(h.count) * int64(h.meta.PageBytes())
	times := int(min(256, max(1, oneSample/size)))
	if b.options.small {
		times = 1
	}
	var q cuda.Submission
	once := func() error {
		q.Reset()
		for range times {
			if err := add(&q); err != nil {
				return err
			}
		}
		if _, err := h.stream.Submit(&q); err != nil {
			return err
		}
		return h.stream.Synchronize()
	}
	took, err := b.turns(clocked(once))
	if err != nil {
		return err
	}
	r.Bytes = size
	r.Unit, r.Samples = perSecond, rates(float64(size)*float64(times), took[0])
	if limit > 0 {
		r.Limit, r.Ratios = "", nil
		r.Note = fmt.Sprintf("%s of the integer ceiling", percent(median(r.Samples)/limit))
	}
	if clocks {
		r.Note += "; " + b.underLoad(once)
	}
	return b.compareDigests(r, h, page)
}

// underLoad asks for the clocks while f runs again and again.
func (b *bench) underLoad(f func() error) string {
	answer := make(chan string, 1)
	go func() {
		answer <- output(b.ctx, "nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu", "--format=csv,noheader")
	}()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		select {
		case text := <-answer:
			return "under load: " + text
		default:
		}
		if err := f(); err != nil {
			break
		}
	}
	return "under load: " + <-answer
}

// compareDigests holds digests of the device against the host's.
func (b *bench) compareDigests(r *row, h hashing, fill canonical) error {
	data, err := b.pool()
	if err != nil {
		return err
	}
	mem, err := b.pin(h.digests.Bytes())
	if err != nil {
		return err
	}
	if _, err := contiguous(h.stream, address(mem), h.digests.Ptr(), int64(len(mem)))(); err != nil {
		return err
	}
	step := max(1, h.count/256)
	r.checked(parallel(b.ctx, (h.count+step-1)/step, func(k int) error {
		page := make([]byte, h.meta.PageBytes())
		i := k * step
		fill(data, page, i)
		return matching(page, h.parts, mem[i*len(h.parts)*kernels.DigestBytes:], i)
	}))
	return nil
}

// matching hashes the parts of a page and compares.
func matching(page []byte, parts []kernels.Part, sums []byte, id int) error {
	hasher, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	for i, p := range parts {
		want := hasher.Sum(page[p.Offset:][:p.Bytes]).Sum()
		if string(sums[i*kernels.DigestBytes:][:kernels.DigestBytes]) != string(want[:]) {
			return fmt.Errorf("digest of part %d of page %d: %w", i, id, errWrong)
		}
	}
	return nil
}
