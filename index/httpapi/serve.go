package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// How long clients may take to send the head of a request and until the next one
// on their connection, and how long answers may take that were begun when the
// server ends.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 1 << 20
)

// Serve answers what comes in on l until ctx ends. Streams end then, and answers
// that were begun have some seconds to come to theirs. Afterwards the handler is
// closed. With certificates it speaks TLS.
func Serve(ctx context.Context, l net.Listener, h *Handler, certificates ...tls.Certificate) error {
	defer h.Close()
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ReadTimeout: h.opt.Timeout,
	}
	serve := func() error { return s.Serve(l) }
	if len(certificates) > 0 {
		s.TLSConfig = &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
		serve = func() error { return s.ServeTLS(l, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return errors.Join(fmt.Errorf("httpapi: serving: %w", err), s.Close())
	case <-ctx.Done():
	}
	h.Close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.Shutdown(last); err != nil { // clients that are too slow are cut off
		h.opt.Log.Warn("answers were cut off", "error", err)
		if err := s.Close(); err != nil {
			return fmt.Errorf("httpapi: ending: %w", err)
		}
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("httpapi: serving: %w", err)
	}
	return nil
}
