package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
)

// Options say how a client asks. The zero value is good.
type Options struct {
	// Required is what the headers of an answer have to say; what is empty
	// may be any text.
	Required Metadata
	// DialTimeout bounds connecting, and the handshake of TLS apart: 5 s.
	DialTimeout time.Duration
	// HeaderTimeout bounds the wait for the head of an answer: 10 s.
	HeaderTimeout time.Duration
	// Timeout bounds all of it, the body included: 60 s.
	Timeout time.Duration
	// MaxConnections is how many connections there are at a time, and are kept
	// for the next request: 16. Requests beyond wait.
	MaxConnections int
	// TLS configures https; nil trusts what the system trusts.
	TLS *tls.Config
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		value *time.Duration
		is    time.Duration
	}{
		{&o.DialTimeout, 5 * time.Second},
		{&o.HeaderTimeout, 10 * time.Second},
		{&o.Timeout, time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.is
		}
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 16
	}
}

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	all := []error{
		checkText("required provenance", o.Required.Provenance),
		checkText("required device", o.Required.Device),
	}
	for what, d := range map[string]time.Duration{"DialTimeout": o.DialTimeout, "HeaderTimeout": o.HeaderTimeout, "Timeout": o.Timeout} {
		if d < 0 {
			all = append(all, fmt.Errorf("remote: %s of %v: want more than 0: %w", what, d, kvferry.ErrInvalid))
		}
	}
	if o.MaxConnections < 0 {
		all = append(all, fmt.Errorf("remote: at most %d connections: want more than 0: %w", o.MaxConnections, kvferry.ErrInvalid))
	}
	return errors.Join(all...)
}
