package zmtp

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/kvferry/kvferry"
)

// Address splits an endpoint, "tcp://host:port" or "ipc://path", into what
// package net calls network and address. "*" stands for all of a machine's
// addresses.
func Address(endpoint string) (network, address string, err error) {
	if rest, ok := strings.CutPrefix(endpoint, "tcp://"); ok {
		host, port, err := net.SplitHostPort(rest)
		if err != nil || port == "" {
			return "", "", fmt.Errorf("zmtp: endpoint %q has no port: %w", endpoint, kvferry.ErrInvalid)
		}
		if host == "*" {
			host = ""
		}
		return "tcp", net.JoinHostPort(host, port), nil
	}
	if path, ok := strings.CutPrefix(endpoint, "ipc://"); ok && path != "" {
		return "unix", path, nil
	}
	return "", "", fmt.Errorf("zmtp: endpoint %q is neither tcp://host:port nor ipc://path: %w", endpoint, kvferry.ErrInvalid)
}

// Dial connects to an endpoint.
func Dial(ctx context.Context, endpoint, kind string, l Limits) (*Conn, error) {
	network, address, err := Address(endpoint)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: l.Handshake}
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// A handshake that hangs must not outlive ctx.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	return Handshake(nc, kind, l)
}
