package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"
)

// listening is where a server listens, and by which certificates it is known.
type listening struct{ address, cert, key string }

func (l *listening) add(f *pflag.FlagSet) {
	f.StringVar(&l.address, "listen", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	f.StringVar(&l.cert, "tls-cert", "", "`file` of the server's certificates; with it clients use https")
	f.StringVar(&l.key, "tls-key", "", "`file` of its key")
}

// check returns what of it cannot be.
func (l *listening) check() error {
	if (l.cert == "") != (l.key == "") {
		return usage(errors.New("--tls-cert and --tls-key go together"))
	}
	if _, _, err := net.SplitHostPort(l.address); err != nil {
		return usage(fmt.Errorf("--listen %s: %w", l.address, err))
	}
	return nil
}

// open reads the certificates, before anybody is told that it serves, and listens.
// It returns the URL, too.
func (l *listening) open(ctx context.Context) (at net.Listener, certificates []tls.Certificate, url string, err error) {
	url = "http://"
	if l.cert != "" {
		c, err := tls.LoadX509KeyPair(l.cert, l.key)
		if err != nil {
			return nil, nil, "", err
		}
		url, certificates = "https://", []tls.Certificate{c}
	}
	at, err = (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
	if err != nil {
		return nil, nil, "", err
	}
	return at, certificates, url + at.Addr().String(), nil
}
