package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// watchFor is how long one command waits for a change.
	watchFor = time.Second
	// keepFor is how long changes are kept after the last watcher was heard of.
	keepFor = 10 * time.Minute
	// watchAtOnce is how many changes are read at once.
	watchAtOnce = 64
)

// Watch implements index.Watcher on a single server. In a cluster no number
// orders the changes of several servers, so there it is ErrUnsupported. A call
// that took several steps ends it with ErrExpired, and so does a server that began
// again or took over, which may lack changes that were seen. While somebody watches, the
// server holds the records of the last Options.History changes once more, of fewer
// where these have more than 128 MiB. Changes are kept from
// the call on, whenever the first is asked for.
func (x *Index) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	var begun error
	if x.single {
		_, begun = x.keep(ctx, true)
	}
	return func(yield func(*index.Change, error) bool) {
		err := begun
		if err == nil {
			err = x.watch(ctx, after, yield)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// errStopped says that the caller has had enough.
var errStopped = errors.New("stopped")

func (x *Index) watch(ctx context.Context, after uint64, yield func(*index.Change, error) bool) error {
	if !x.single && !x.closing.Load() && ctx.Err() == nil {
		return fmt.Errorf("index/redis: watch: the servers of a cluster do not order their changes: %w", kvferry.ErrUnsupported)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.done, cancel)()
	for first := true; ; first = false {
		dials := x.dials.Load()
		newest, err := x.keep(inner, first)
		if err == nil && after > newest { // the server lost its keys and began anew
			err = lost(newest)
		}
		if err == nil {
			after, err = x.follow(inner, after, newest, dials, yield)
		}
		switch {
		case errors.Is(err, errStopped):
			return nil
		case x.closing.Load():
			return fmt.Errorf("index/redis: watch: %w", kvferry.ErrClosed)
		case ctx.Err() != nil:
			return fmt.Errorf("index/redis: watch: %w", ctx.Err())
		case err != nil:
			return err
		}
	}
}

// keep sees to it that changes are kept, and returns the number of the newest.
func (x *Index) keep(ctx context.Context, first bool) (uint64, error) {
	if first {
		if err := x.enter(ctx); err != nil {
			return 0, err
		}
		defer x.leave()
	}
	return x.newest(ctx, "watch", strconv.FormatInt(keepFor.Milliseconds(), 10))
}

// newest returns the number of the newest change, and drops what was kept if the
// server is not the one that kept it. What is kept from now on is kept for so many
// milliseconds behind the last watcher; "": as before.
func (x *Index) newest(ctx context.Context, op, keep string) (uint64, error) {
	m, err := x.run(ctx, op, &request{watchScript, "*", x.args(0, keep)})
	if err != nil {
		return 0, err
	}
	l, err := list(&m, 2)
	if err != nil {
		return 0, err
	}
	text, err1 := l[0].ToString()
	dead, err2 := texts(&l[1])
	n, err3 := strconv.ParseUint(text, 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return 0, corrupt(op, "number of the newest change")
	}
	x.noticed(dead) // whose removal is a change, too
	return n, nil
}

// follow yields changes behind after until there are none for a while, and
// returns the number of the last. newest were there before, on connections that
// were made up to then: behind another one there may be another history.
func (x *Index) follow(ctx context.Context, after, newest, dials uint64, yield func(*index.Change, error) bool) (uint64, error) {
	for {
		entries, err := x.entries(ctx, after)
		if err != nil {
			return after, err
		}
		if x.dials.Load() != dials {
			return after, nil
		}
		if len(entries) == 0 {
			if after < newest {
				return after, lost(after)
			}
			return after, nil
		}
		for i := range entries {
			c, err := x.parseEntry(&entries[i], after)
			if err != nil {
				return after, err
			}
			if c == nil {
				continue
			}
			after = c.Seq
			if !yield(c, nil) {
				return after, errStopped
			}
		}
	}
}

func lost(after uint64) error {
	return fmt.Errorf("index/redis: watch: change %d is not kept any more: %w", after+1, kvferry.ErrExpired)
}

func idOf(seq uint64) string { return strconv.FormatUint(seq, 10) + "-1" }

// entries waits for changes behind a number.
func (x *Index) entries(ctx context.Context, after uint64) ([]rueidis.XRangeEntry, error) {
	key := x.base("*") + "x"
	c, cancel := context.WithTimeout(ctx, x.o.Timeout+watchFor)
	defer cancel()
	m, err := x.try(c, "watch", false, nil, func(bool) rueidis.Completed {
		return x.client.B().Xread().Count(watchAtOnce).Block(watchFor.Milliseconds()).Streams().Key(key).Id(idOf(after)).Build().UnblockOnCancel()
	})
	if err != nil || m.IsNil() {
		return nil, err
	}
	streams, err := m.AsXRead()
	if err != nil {
		return nil, corrupt("watch", "changes")
	}
	return streams[key], nil
}

// parseEntry reads a change, which has to be the one behind after; nil is the mark
// where history begins.
func (x *Index) parseEntry(e *rueidis.XRangeEntry, after uint64) (*index.Change, error) {
	number, part, ok := strings.Cut(e.ID, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || !ok || len(e.FieldValues) != 1 {
		return nil, corrupt("watch", fmt.Sprintf("change %.40q", e.ID))
	}
	switch {
	case part == "1" && seq <= after:
		return nil, nil
	case part == "1" || seq != after+1:
		return nil, lost(after)
	}
	for kind, what := range e.FieldValues {
		fields, err := unpack(what)
		if err != nil {
			return nil, err
		}
		c, err := x.parseChange(kind, fields)
		if err != nil {
			return nil, err
		}
		c.Seq = seq
		return c, nil
	}
	return nil, nil
}
