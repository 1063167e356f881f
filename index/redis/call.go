package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
)

// request is one run of a script, at the server that has a scope ("*": what
// belongs to none).
type request struct {
	script *script
	scope  string
	args   []string
}

// args returns the arguments that every script has, with room for n more.
func (x *Index) args(n int, more ...string) []string {
	single := "0"
	if x.single {
		single = "1"
	}
	return append(append(make([]string, 0, 3+max(n, len(more))), x.o.Prefix, single, x.history), more...)
}

func (x *Index) base(scope string) string { return x.o.Prefix + "{" + scope + "}" }

// command is the request, by the script's name or with its text.
func (x *Index) command(r *request, text bool) rueidis.Completed {
	b := x.base(r.scope)
	if text {
		return x.client.B().Eval().Script(r.script.text).Numkeys(2).Key(b+"0", b+"1").Arg(r.args...).Build()
	}
	return x.client.B().Evalsha().Sha1(r.script.sha).Numkeys(2).Key(b+"0", b+"1").Arg(r.args...).Build()
}

// run runs a script.
func (x *Index) run(ctx context.Context, op string, r *request) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	return x.try(ctx, op, r.script.write, nil, func(text bool) rueidis.Completed { return x.command(r, text) })
}

// send sends a command that changes nothing.
func (x *Index) send(ctx context.Context, op string, command func() rueidis.Completed) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	return x.try(ctx, op, false, nil, func(bool) rueidis.Completed { return command() })
}

// runAll runs scripts at once; first is the first error's.
func (x *Index) runAll(ctx context.Context, op string, rs []request) ([]rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	if len(rs) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("index/redis: %s: %w", op, err)
	}
	commands := make([]rueidis.Completed, len(rs))
	for i := range rs {
		commands[i] = x.command(&rs[i], false)
	}
	out := make([]rueidis.RedisMessage, len(rs))
	var first error
	for i, res := range x.client.DoMulti(ctx, commands...) {
		var err error
		out[i], err = x.try(ctx, op, rs[i].script.write, &res, func(text bool) rueidis.Completed { return x.command(&rs[i], text) })
		if err != nil && first == nil {
			first = err
		}
	}
	return out, first
}

// try sends a command until it has an answer that counts. What has done nothing
// is tried again, and reads are, until the time is over; what may have been
// applied is not.
func (x *Index) try(ctx context.Context, op string, write bool, sent *rueidis.RedisResult, command func(text bool) rueidis.Completed) (rueidis.RedisMessage, error) {
	text := false
	for attempt := 0; ; attempt++ {
		var res rueidis.RedisResult
		switch {
		case sent != nil:
			res, sent = *sent, nil
		case ctx.Err() != nil && attempt == 0:
			return rueidis.RedisMessage{}, fmt.Errorf("index/redis: %s: %w", op, ctx.Err())
		default:
			res = x.client.Do(ctx, command(text))
		}
		m, err := res.ToMessage()
		if err == nil || rueidis.IsRedisNil(err) {
			return m, nil
		}
		wait, err := x.judge(op, write, err, &text)
		if err == nil {
			continue // with the script's text
		}
		if !wait || !pause(ctx, attempt) {
			return m, err
		}
	}
}

// judge says what an error means, and whether to try again.
func (x *Index) judge(op string, write bool, err error, text *bool) (wait bool, _ error) {
	if e, ok := rueidis.IsRedisErr(err); ok {
		if e.IsNoScript() && !*text {
			*text = true
			return true, nil
		}
		return again(e), refused(op, e)
	}
	var dial *dialError
	switch {
	case x.closing.Load() && errors.Is(err, rueidis.ErrClosing):
		return false, fmt.Errorf("index/redis: %s: %w", op, kvferry.ErrClosed)
	case errors.As(err, &dial):
		return dial.passing(), away(op, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false, broken(op, write, err)
	}
	return !write, broken(op, write, err)
}

const (
	firstPause = time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// pause waits before the next attempt, longer each time, and reports whether
// there is time for one.
func pause(ctx context.Context, attempt int) bool {
	t := time.NewTimer(min(lastPause, firstPause<<min(attempt, 10)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
