package main

import (
	"crypto/tls"
	"strings"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// redisOptions makes options of redis://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT…].
// Who serves an index renews the leases of the workers that it hears of. Whom
// another command announces has none, since nobody is there to renew it.
func redisOptions(u indexURL, o index.Options, renew bool) redis.Options {
	out := redis.Options{Options: o, Renew: renew, Addresses: strings.Split(u.server.Host, ",")}
	if !renew {
		out.Lease = redis.NoLease
	}
	if u.server.User != nil {
		out.Username = u.server.User.Username()
		out.Password, _ = u.server.User.Password()
	}
	if u.scheme == indexRediss {
		// Each server has to be called as its address is: see redis.Options.
		out.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return out
}
