package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/redis"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitCorrupt  = 3
	exitNotFound = 4
)

// usageError marks what the user typed as the cause.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage marks err, if there is one, as wrong usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// typed marks err as wrong usage if it says that the text given to it cannot
// be right; for errors of functions that parse what the user typed and also
// do other things.
func typed(err error) error {
	if errors.Is(err, kvferry.ErrInvalid) || errors.Is(err, kvferry.ErrAmbiguous) {
		return usage(err)
	}
	return err
}

// codeOf returns the exit code for the outcome of a command.
func codeOf(err error) int {
	var u *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &u):
		return exitUsage
	case errors.Is(err, kvferry.ErrCorrupt):
		return exitCorrupt
	case errors.Is(err, kvferry.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// kindOf returns a word for the outcome that programs can compare.
func kindOf(err error) string {
	var u *usageError
	if errors.As(err, &u) {
		return "usage"
	}
	kinds := []struct {
		is   error
		name string
	}{
		{context.Canceled, "cancelled"}, {context.DeadlineExceeded, "timeout"},
		{kvferry.ErrCorrupt, "corrupt"}, {kvferry.ErrNotFound, "not-found"},
		{kvferry.ErrReadOnly, "read-only"}, {kvferry.ErrPoisoned, "poisoned"}, {kvferry.ErrQuota, "quota"}, {kvferry.ErrNoSpace, "no-space"},
		{kvferry.ErrOutOfMemory, "out-of-memory"}, {kvferry.ErrNotEmpty, "not-empty"},
		{kvferry.ErrExists, "exists"}, {kvferry.ErrLayoutMismatch, "layout-mismatch"},
		{kvferry.ErrIdentityMismatch, "identity-mismatch"}, {kvferry.ErrUnsupported, "unsupported"},
		{kvferry.ErrExpired, "expired"}, {kvferry.ErrUnknownOutcome, "unknown-outcome"},
		{kvferry.ErrNoDevice, "no-device"}, {kvferry.ErrDeviceLost, "device-lost"},
		{kvferry.ErrInvalid, "invalid"}, {kvferry.ErrClosed, "closed"},
		{redis.ErrUnavailable, "unavailable"}, {redis.ErrDenied, "denied"},
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.name
		}
	}
	return "failed"
}

// report prints the error that ends a command. That the reader of the output
// went away, it knows.
func (a *app) report(err error) {
	if errors.Is(err, errReaderGone) {
		return
	}
	if !a.json {
		_, _ = fmt.Fprintf(a.err, "kvferry: %v\n", err)
		return
	}
	b, jerr := json.Marshal(struct {
		Error string `json:"error"`
		Kind  string `json:"kind"`
		Code  int    `json:"code"`
	}{err.Error(), kindOf(err), codeOf(err)})
	if jerr != nil { // strings and a number always marshal
		panic(jerr)
	}
	_, _ = fmt.Fprintf(a.err, "%s\n", b)
}
