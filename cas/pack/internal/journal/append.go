package journal

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/kvferry/kvferry"
)

// The log is written over zeros that were written ahead, in chunks that grow
// with it: to sync an overwrite takes half as long as to sync a longer file.
const (
	minAheadBytes = 256 << 10
	maxAheadBytes = 1 << 20
)

var aheadZeros [64 << 10]byte

// Writer is the right to append. It is used by one goroutine at a time.
//
// What is appended counts, for all processes, when the call returns nil, and is
// durable if it was asked to be. The caller makes it effective in its own state
// before Unlock. An error says that it does not count; if it wraps
// kvferry.ErrPoisoned, then it may come to count after all when the log is
// opened anew, and this journal appends no more.
type Writer struct {
	j     *Journal
	end   cursor
	words words
	size  int64 // of the file
	held  int64 // durable up to here, which is not told yet
	keep  int64
	dead  error
}

// Keep makes what is appended from now on leave so much room in the log, which
// lies there as zeros: an Append that could not is ErrNoSpace, has changed
// nothing, and leaves the room that there is to those that keep less. So a full
// disk has room for what makes room. 0, as at first, takes what it finds.
func (w *Writer) Keep(bytes int64) { w.keep = bytes }

// Reserve makes the room that is to be kept, if there is any.
func (w *Writer) Reserve() error {
	if w.dead != nil {
		return w.dead
	}
	return space(w.ahead(w.end.off))
}

// Append appends one transaction, its payload in parts, and durably if flags
// say so. With Unordered, the caller makes what the transaction speaks of
// durable before the next Append or Unlock; see AppendBeside.
func (w *Writer) Append(payload [][]byte, flags Flags) error {
	return w.AppendAll([]Write{{Parts: payload, Flags: flags}}, flags&Durable != 0)
}

// AppendAll appends transactions with one write and, if sync, one sync; their
// Durable flags are set by sync.
func (w *Writer) AppendAll(txs []Write, sync bool) error {
	return w.append(txs, sync, nil)
}

// AppendBeside appends transactions durably, and Unordered, while beside makes
// durable what they speak of. They count after both. If beside fails they are
// taken back, and its error is returned.
func (w *Writer) AppendBeside(txs []Write, beside func() error) error {
	unordered := make([]Write, len(txs))
	for i, t := range txs {
		unordered[i] = Write{Parts: t.Parts, Flags: t.Flags | Unordered}
	}
	return w.append(unordered, true, beside)
}

func (w *Writer) append(txs []Write, sync bool, beside func() error) error {
	total, err := w.check(txs)
	if err != nil {
		return err
	}
	w.tell()
	if err := w.ahead(w.end.off + total); errors.Is(err, errRefused) {
		return fmt.Errorf("journal: append: %w", space(err))
	} else if err != nil {
		return w.takeBack(err, full(err))
	}
	end, err := w.write(txs, sync, total)
	if err != nil {
		return w.takeBack(err, full(err))
	}
	if harmless, err := w.sync(sync, beside); err != nil {
		return w.takeBack(err, harmless)
	}
	was, before := w.end, w.words
	w.end, w.words.committed = end, end.off
	if sync {
		w.held = end.off
	}
	if sync && (beside != nil || !anyUnordered(txs)) {
		w.tell()
	}
	if err := w.publish(); err != nil {
		w.end, w.words, w.held = was, before, 0 // nobody is told that they count
		return w.fail(err)
	}
	return nil
}

func anyUnordered(txs []Write) bool {
	for _, t := range txs {
		if t.Flags&Unordered != 0 {
			return true
		}
	}
	return false
}

// check returns what the transactions take in the log.
func (w *Writer) check(txs []Write) (total int64, err error) {
	if w.dead != nil {
		return 0, w.dead
	}
	for _, t := range txs {
		n := int64(0)
		for _, p := range t.Parts {
			n += int64(len(p))
		}
		if n > MaxPayloadBytes || t.Flags&^(Durable|Unordered) != 0 {
			return 0, fmt.Errorf("journal: append: %w: %d bytes, flags %x", kvferry.ErrInvalid, n, t.Flags)
		}
		total += span(n)
	}
	return total, nil
}

// write writes the transactions behind the end.
func (w *Writer) write(txs []Write, sync bool, total int64) (cursor, error) {
	out := output{f: w.j.w.f, off: w.end.off, buf: w.j.buf[:0]}
	out.grow(int(min(total, outputBytes)))
	defer func() { w.j.buf = out.buf }()
	end, salt := w.end, w.j.w.salt()
	durable := w.words.durable
	for _, t := range txs {
		flags := t.Flags &^ Durable
		if sync {
			flags |= Durable
		}
		var err error
		if end, err = out.emit(end, txHead{seq: end.seq + 1, durable: durable, flags: flags}, salt, t.Parts); err != nil {
			return end, err
		}
	}
	return end, out.flush()
}

// ahead writes zeros behind need if the file ends before, or too soon after it.
// If there is no room for them the transactions may still find theirs, unless
// some is to be kept.
func (w *Writer) ahead(need int64) error {
	enough := need + w.keep
	if enough <= w.size {
		return nil
	}
	size := (enough + min(max((need-firstTx)/4, minAheadBytes), maxAheadBytes) + 4095) &^ 4095
	at := need
	if w.keep > 0 {
		at = w.size // nothing but zeros is to fail
	}
	for at < size {
		n := min(size-at, int64(len(aheadZeros)))
		if _, err := w.j.w.f.WriteAt(aheadZeros[:n], at); err != nil {
			if !full(err) {
				return err
			}
			return w.short(need, at, err)
		}
		at += n
	}
	w.size = max(size, need)
	return nil
}

// short goes on with zeros only up to at, if that does.
func (w *Writer) short(need, at int64, cause error) error {
	enough := w.keep > 0 && at >= need+w.keep
	if !enough {
		at = w.size
	}
	if err := w.j.w.f.Truncate(at); err != nil {
		return errors.Join(err, errKept)
	}
	switch {
	case enough:
		w.size = at
	case w.keep > 0:
		return fmt.Errorf("%w: %w", errRefused, cause)
	default:
		w.size = max(at, need)
	}
	return nil
}

var (
	// errKept marks an error after which the file cannot be as it was.
	errKept = errors.New("could not be taken back")
	// errRefused marks one before anything was written.
	errRefused = errors.New("no room is left for those that make room")
)

// sync makes the log durable beside whatever else must be. A failure of the log
// is never made good by trying again; harmless tells that it was not the log.
func (w *Writer) sync(log bool, beside func() error) (harmless bool, err error) {
	if beside == nil {
		if log {
			err = w.j.w.f.Sync()
		}
		return false, err
	}
	done := make(chan error, 1)
	go func() { done <- beside() }()
	err = w.j.w.f.Sync()
	other := <-done
	return err == nil, errors.Join(err, other)
}

// takeBack undoes a write that does not count. If that succeeds, nothing is
// left of it and the journal goes on, unless harmless is false.
func (w *Writer) takeBack(cause error, harmless bool) error {
	err := w.j.w.f.Truncate(w.end.off)
	if !harmless || err != nil || errors.Is(cause, errKept) {
		return w.fail(cause)
	}
	w.size = w.end.off
	// What was cut off may be on the disk, whole: only now is it gone.
	if err := w.j.w.f.Sync(); err != nil {
		return w.fail(errors.Join(cause, err))
	}
	return fmt.Errorf("journal: append: %w", space(cause))
}

// fail stops appending by this journal. The next one, of whichever process, is
// told not to believe that anything became durable since the last success.
func (w *Writer) fail(cause error) error {
	w.words.suspect = true
	_, err := w.j.w.f.WriteAt(w.words.encode(), wordsAt)
	w.dead = w.j.poison(errors.Join(cause, err))
	return w.dead
}

// tell lets the next words say what is durable.
func (w *Writer) tell() {
	w.words.durable = max(w.words.durable, w.held)
	w.held = 0
}

// publish writes the words: from here on the transactions count, in this
// journal without being followed.
func (w *Writer) publish() error {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	return w.publishLocked()
}

func (w *Writer) publishLocked() error {
	j := w.j
	if _, err := j.w.f.WriteAt(w.words.encode(), wordsAt); err != nil {
		return err
	}
	j.cur, j.applied = w.end, w.end.seq
	j.bytes.Store(w.end.off - firstTx)
	j.view.Load().seen.Store(w.words.first())
	return nil
}

// Sync makes durable everything that was appended, by whomever.
func (w *Writer) Sync() error {
	if w.dead != nil {
		return w.dead
	}
	if w.words.durable == w.end.off {
		return nil
	}
	if err := w.j.w.f.Sync(); err != nil {
		return w.fail(err)
	}
	w.held = w.end.off
	w.tell()
	if err := w.publish(); err != nil {
		return w.fail(err)
	}
	return nil
}

// Position is the end of the log.
func (w *Writer) Position() Position {
	return Position{Generation: w.j.w.generation, Offset: w.end.off, Seq: w.end.seq}
}

// Unlock gives the right back. The Writer is not used after it.
func (w *Writer) Unlock() {
	if w.dead == nil && w.held != 0 {
		w.tell()
		_ = w.publish() // the word is only a hint
	}
	w.dead = fmt.Errorf("journal: append: %w", kvferry.ErrClosed)
	w.j.letGo()
	<-w.j.turn
}

// full tells whether an error says that there is no room.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, kvferry.ErrNoSpace)
}
