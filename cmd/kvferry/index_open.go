package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/lsm"
	"github.com/kvferry/kvferry/index/memory"
	"github.com/kvferry/kvferry/index/redis"
)

// The kinds of index, as their URLs begin.
const (
	indexMemory = "memory"
	indexART    = "art"
	indexLSM    = "lsm"
	indexFSDir  = "fsdir"
	indexRedis  = "redis"
	indexRediss = "rediss"
	indexHTTP   = "http"
	indexHTTPS  = "https"
)

// indexURL names an index.
type indexURL struct {
	scheme string
	rest   string   // a directory, or nothing
	server *url.URL // of redis and http
}

// String returns the URL without a password.
func (u indexURL) String() string {
	if u.server != nil {
		return u.server.Redacted()
	}
	return u.scheme + ":" + u.rest
}

func (u indexURL) inDirectory() bool {
	return u.scheme == indexART || u.scheme == indexLSM || u.scheme == indexFSDir
}

func parseIndexURL(s string) (indexURL, error) {
	if s == "" {
		return indexURL{}, errNoIndex
	}
	bad := func(format string, args ...any) (indexURL, error) {
		return indexURL{}, fmt.Errorf("index %.200q: %s: %w", withoutPassword(s), fmt.Sprintf(format, args...), kvferry.ErrInvalid)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	switch scheme {
	case indexMemory:
		if !ok || rest != "" {
			return bad("want memory: with nothing behind it")
		}
	case indexART, indexLSM, indexFSDir:
		if !ok || rest == "" || strings.ContainsRune(rest, 0) {
			return bad("want %s:DIR", scheme)
		}
	case indexRedis, indexRediss, indexHTTP, indexHTTPS:
		u, err := parseServer(s)
		if err != nil {
			return bad("%v", err)
		}
		return indexURL{scheme: scheme, server: u}, nil
	default:
		return bad("this build has memory:, art:DIR, lsm:DIR, fsdir:DIR, redis://HOST:PORT, rediss://HOST:PORT and http://HOST:PORT")
	}
	return indexURL{scheme: scheme, rest: rest}, nil
}

// parseServer reads SCHEME://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT…]. Package url
// takes one host, so it is given the first.
func parseServer(s string) (*url.URL, error) {
	_, hosts, _ := strings.Cut(s, "://")
	hosts = hosts[strings.LastIndexByte(hosts, '@')+1:]
	first, _, _ := strings.Cut(hosts, ",")
	u, err := url.Parse(strings.Replace(s, hosts, first, 1))
	switch {
	case err != nil:
		return nil, errors.New("this is no URL") // url's own error would tell the password
	case u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("want %s://HOST:PORT and nothing behind it", u.Scheme)
	}
	u.Host = strings.TrimSuffix(hosts, "/")
	return u, nil
}

// withoutPassword hides what stands before the last @.
func withoutPassword(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return s
	}
	return scheme + "://xxxxx" + rest[at:]
}

// openIndex opens the index of the command line. Unless create says so, one in a
// directory has to be there.
func (x *indexing) openIndex(ctx context.Context, create bool) (index.Index, indexURL, error) {
	u, err := parseIndexURL(x.url)
	if err != nil {
		return nil, u, usage(err)
	}
	rules, err := parseRules(x.rules)
	if err != nil {
		return nil, u, err
	}
	if u.inDirectory() && !create {
		if _, err := os.Stat(u.rest); errors.Is(err, os.ErrNotExist) {
			return nil, u, fmt.Errorf("index %s: %w", u, kvferry.ErrNotFound)
		}
	}
	i, err := x.openURL(ctx, u, index.Options{Rules: rules})
	if err != nil {
		return nil, u, fmt.Errorf("index %s: %w", u, err)
	}
	return i, u, nil
}

// opened makes an interface of what a constructor returned, nil if it failed.
func opened[T index.Index](x T, err error) (index.Index, error) {
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (x *indexing) openURL(ctx context.Context, u indexURL, o index.Options) (index.Index, error) {
	switch u.scheme {
	case indexMemory:
		return opened(memory.New(memory.Options{Options: o}))
	case indexART:
		return opened(art.Open(ctx, u.rest, art.Options{Options: o}))
	case indexLSM:
		return opened(lsm.Open(ctx, u.rest, lsm.Options{Options: o}))
	case indexFSDir:
		return opened(fsdir.Open(ctx, u.rest, fsdir.Options{Options: o}))
	case indexHTTP, indexHTTPS:
		return opened(httpapi.NewClient(ctx, u.server.Scheme+"://"+u.server.Host, httpapi.ClientOptions{Token: x.token()}))
	}
	ro := redisOptions(u, o, x.renew)
	if x.renew {
		ro.Lease = x.lease
	}
	return opened(redis.Open(ctx, ro))
}

// token is what a server wants, or wants to see.
func (x *indexing) token() string { return x.getenv("KVFERRY_INDEX_TOKEN") }

// withIndex opens the index of the command line for the duration of use.
func (x *indexing) withIndex(ctx context.Context, create bool, use func(i index.Index, u indexURL) error) (err error) {
	i, u, err := x.openIndex(ctx, create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	return use(i, u)
}

// flush makes what was written durable. A server that others share decides itself
// when that is: that nobody can wait for it is said once, and no error.
func (x *indexing) flush(ctx context.Context, i index.Index) error {
	err := i.Flush(ctx)
	if !errors.Is(err, kvferry.ErrUnsupported) || !i.Info().Shared {
		return err
	}
	if !x.toldFlush.Swap(true) {
		x.log.Warn("when what is written becomes durable is for the server to say", "reason", err)
	}
	return nil
}
