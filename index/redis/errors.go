package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
)

var (
	// ErrUnavailable is returned when the server could not be asked in time: it is
	// away, still loading, or a part of the cluster has no server. Nothing was
	// changed.
	ErrUnavailable = errors.New("index/redis: server not available")

	// ErrDenied is returned when the server refuses the user, the password or the
	// certificate, or the user lacks a permission.
	ErrDenied = errors.New("index/redis: access denied")
)

// dialError is why there is no connection. Nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return "no connection: " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// passing reports whether trying again may help.
func (e *dialError) passing() bool {
	var op *net.OpError
	var closed net.Error
	return errors.As(e.err, &op) || errors.As(e.err, &closed)
}

// retried are the answers of a server that did nothing, and may do it later.
var retried = []string{"LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY ", "READONLY", "NOREPLICAS", "MOVED", "ASK"}

// again reports whether a server's answer says that it did nothing, for now.
func again(e *rueidis.RedisError) bool {
	text := e.Error()
	for _, code := range retried {
		if strings.HasPrefix(text, code) {
			return true
		}
	}
	return false
}

// answers are what the codes of a server's errors mean.
var answers = []struct {
	code string
	kind error
	do   string
}{
	{"OOM", kvferry.ErrNoSpace, "the server's memory is full and nothing was written: expire or clear records, or raise maxmemory"},
	{"MISCONF", kvferry.ErrNoSpace, "the server cannot write its files and takes no writes: look at its log"},
	{"READONLY", kvferry.ErrReadOnly, "this server is a replica: name the primary, or all nodes of the cluster"},
	{"WRONGTYPE", kvferry.ErrCorrupt, "something else than the index uses its keys: choose another Prefix, or delete what does not belong there"},
	{"KVCORRUPT", kvferry.ErrCorrupt, "something else than the index uses its keys: choose another Prefix, or delete what does not belong there"},
	{"NOAUTH", ErrDenied, "the server wants a user and a password"},
	{"WRONGPASS", ErrDenied, "user or password is wrong"},
	{"NOPERM", ErrDenied, "the user needs the commands of scripts and all keys of the prefix"},
	{"LOADING", ErrUnavailable, "the server reads its files: try again later"},
	{"CLUSTERDOWN", ErrUnavailable, "slots of the cluster have no server: bring it back, or fail over"},
	{"MASTERDOWN", ErrUnavailable, "the replica has lost its primary: fail over"},
	{"TRYAGAIN", ErrUnavailable, "a slot moves between servers: try again later"},
	{"MOVED", ErrUnavailable, "the cluster changes: try again later"},
	{"ASK", ErrUnavailable, "the cluster changes: try again later"},
	{"NOREPLICAS", ErrUnavailable, "too few replicas for min-replicas-to-write"},
	{"BUSY ", ErrUnavailable, "another script runs on the server for too long"},
}

// refused is the error for a server's answer.
func refused(op string, e *rueidis.RedisError) error {
	text := e.Error()
	for _, a := range answers {
		if strings.HasPrefix(text, a.code) {
			return fmt.Errorf("index/redis: %s: %w: %s (%w)", op, a.kind, a.do, e)
		}
	}
	for _, garbage := range []string{"is not an integer", "would overflow", "not a valid float", "not an integer"} {
		if strings.Contains(text, garbage) {
			return fmt.Errorf("index/redis: %s: counters: %w (%w)", op, kvferry.ErrCorrupt, e)
		}
	}
	return fmt.Errorf("index/redis: %s: the server says: %w", op, e)
}

// broken is the error for a call that got no answer. The caller's own context
// ending is that; a write may have been applied.
func broken(op string, write bool, err error) error {
	switch {
	case write:
		return fmt.Errorf("index/redis: %s: the answer was lost: %w: it may have been applied; look, or repeat what is harmless to repeat, as Put: %w",
			op, kvferry.ErrUnknownOutcome, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("index/redis: %s: %w", op, err)
	}
	return away(op, err)
}

// away is the error for a server that was not reached.
func away(op string, err error) error {
	var dial *dialError
	if errors.As(err, &dial) && !dial.passing() {
		return fmt.Errorf("index/redis: %s: %w: %w", op, ErrDenied, err)
	}
	return fmt.Errorf("index/redis: %s: %w: %w", op, ErrUnavailable, err)
}

func corrupt(op, what string) error {
	return fmt.Errorf("index/redis: %s: %s: %w", op, what, kvferry.ErrCorrupt)
}
