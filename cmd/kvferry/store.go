package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cas/pack"
)

// storeURL names a store.
type storeURL struct {
	scheme string // pack, dir or mem; empty for a path that says nothing
	path   string // of a store in a directory
}

// String returns the URL with its scheme.
func (u storeURL) String() string {
	if u.scheme == "" {
		return u.path
	}
	return u.scheme + ":" + u.path
}

// parseStoreURL reads pack:PATH, dir:PATH, mem:, or a bare path. A colon behind
// the first separator of a path belongs to the path.
func parseStoreURL(s string) (storeURL, error) {
	bad := func(format string, args ...any) (storeURL, error) {
		return storeURL{}, fmt.Errorf("store %.200q: %s: %w", s, fmt.Sprintf(format, args...), kvferry.ErrInvalid)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if bare := !ok || strings.ContainsAny(scheme, `/\.`); bare {
		scheme, rest = "", s
	} else if scheme == "" {
		return bad("want pack:PATH, dir:PATH or mem:")
	}
	switch scheme {
	case "", schemePack, schemeDir:
		if rest == "" || strings.ContainsRune(rest, 0) {
			return bad("want %s:PATH", cmp.Or(scheme, schemePack))
		}
	case schemeMem:
		if rest != "" {
			return bad("want mem: with nothing behind it")
		}
	default:
		return bad("unknown scheme %q, this build has pack:PATH, dir:PATH and mem:", scheme)
	}
	return storeURL{scheme, rest}, nil
}

// locate parses a URL and looks at what is there: a path that says nothing is
// the store that it holds, or a pack store to be. A scheme that is not that of
// the store is refused.
func locate(url string) (storeURL, error) {
	u, err := parseStoreURL(url)
	if err != nil || u.scheme == schemeMem {
		return u, usage(err)
	}
	found := kindAt(u.path)
	switch {
	case u.scheme == "":
		u.scheme = cmp.Or(found, schemePack)
	case found != "" && found != u.scheme:
		return u, usage(fmt.Errorf("store %.200q: there is another kind of store, which is named %s:%s: %w", url, found, u.path, kvferry.ErrInvalid))
	}
	return u, nil
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
	// repairAccess, beside changeAccess, opens also what is damaged as a whole.
	repairAccess access = 8
)

// open opens the store that a URL names.
func (a *app) open(url string, how access) (cas.Store, error) {
	if url == "" {
		return nil, usage(errors.New("no store: give --store URL or set KVFERRY_STORE"))
	}
	u, err := locate(url)
	if err != nil {
		return nil, err
	}
	readOnly, mustExist := how&changeAccess == 0, how&writeAccess != writeAccess
	switch u.scheme {
	case schemeMem:
		return mem.Open(mem.Options{QuotaBytes: int64(a.quota)})
	case schemeDir:
		return dir.Open(u.path, dir.Options{
			ReadOnly: readOnly, MustExist: mustExist, QuotaBytes: int64(a.quota),
			DropUnlisted: how&dropUnlisted != 0,
		})
	}
	return pack.Open(u.path, pack.Options{
		ReadOnly: readOnly, MustExist: mustExist, QuotaBytes: int64(a.quota),
		Repair: how&repairAccess != 0,
	})
}

// withStore opens the store of the command line for the duration of use.
func (a *app) withStore(ctx context.Context, how access, use func(context.Context, cas.Store) error) error {
	return a.with(ctx, "", a.store, how, use)
}

// with opens a store for the duration of use. What goes wrong with opening it is
// told behind the flag.
func (a *app) with(ctx context.Context, flag, url string, how access, use func(context.Context, cas.Store) error) (err error) {
	s, err := a.open(url, how)
	if err != nil {
		return fmt.Errorf("%s%w", flag, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(ctx, s)
}
