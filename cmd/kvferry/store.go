package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/mem"
)

// storeURL names a store.
type storeURL struct {
	scheme string // dir or mem
	path   string // of a dir store
}

// String returns the URL with its scheme.
func (u storeURL) String() string { return u.scheme + ":" + u.path }

// parseStoreURL reads dir:PATH, mem:, or a bare path, which is a dir store. A
// colon behind the first separator of a path belongs to the path.
func parseStoreURL(s string) (storeURL, error) {
	bad := func(format string, args ...any) (storeURL, error) {
		return storeURL{}, fmt.Errorf("store %.200q: %s: %w", s, fmt.Sprintf(format, args...), kvferry.ErrInvalid)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || strings.ContainsAny(scheme, `/\.`) {
		scheme, rest = "dir", s
	}
	switch scheme {
	case "dir":
		if rest == "" || strings.ContainsRune(rest, 0) {
			return bad("want dir:PATH")
		}
	case "mem":
		if rest != "" {
			return bad("want mem: with nothing behind it")
		}
	default:
		return bad("unknown scheme %q, this build has dir:PATH and mem:", scheme)
	}
	return storeURL{scheme, rest}, nil
}

// access says what a command wants of a store.
type access uint8

// The kinds of access: reading changes nothing and takes no lock; changing
// wants a store that is there; writing makes one where there is none.
const (
	readAccess   access = 0
	changeAccess access = 1
	writeAccess  access = changeAccess | 2
	// dropUnlisted, beside another, lets a collection delete manifests that
	// nothing lists.
	dropUnlisted access = 4
)

func openStore(url string, how access) (cas.Store, error) {
	if url == "" {
		return nil, usage(errors.New("no store: give --store URL or set KVFERRY_STORE"))
	}
	u, err := parseStoreURL(url)
	if err != nil {
		return nil, usage(err)
	}
	if u.scheme == "mem" {
		return mem.Open(mem.Options{})
	}
	return dir.Open(u.path, dir.Options{
		ReadOnly:     how&changeAccess == 0,
		MustExist:    how&writeAccess != writeAccess,
		DropUnlisted: how&dropUnlisted != 0,
	})
}

// withStore opens the store of the command line for the duration of use.
func (a *app) withStore(ctx context.Context, how access, use func(context.Context, cas.Store) error) error {
	return with(ctx, "", a.store, how, use)
}

// with opens a store for the duration of use. What goes wrong with opening it is
// told behind the flag.
func with(ctx context.Context, flag, url string, how access, use func(context.Context, cas.Store) error) (err error) {
	s, err := openStore(url, how)
	if err != nil {
		return fmt.Errorf("%s%w", flag, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(ctx, s)
}
