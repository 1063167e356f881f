package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// How long clients may take: to send the head of a request and all of it, until the next one
// on their connection, and to take what they asked for when the server ends.
const (
	serveHeaderTimeout   = 10 * time.Second
	serveReadTimeout     = 30 * time.Second
	serveIdleTimeout     = 2 * time.Minute
	serveShutdownTimeout = 10 * time.Second
)

// serving is how a directory of kernels is served.
type serving struct {
	listening

	files   disk.Options
	handler remote.HandlerOptions
}

// served is the JSON document of pipeline serve, printed when it ends.
type served struct {
	Address   string `json:"address"`
	Artifacts uint64 `json:"artifacts"`
	Bytes     uint64 `json:"bytes"`
	Missing   uint64 `json:"missing"`
	Refused   uint64 `json:"refused"`
	Failed    uint64 `json:"failed"`
}

func (a *app) pipelineServeCommand() *cobra.Command {
	var o serving
	c := &cobra.Command{
		Use:   "serve DIR --provenance TEXT --device TEXT [--listen ADDRESS] [--tls-cert FILE --tls-key FILE]",
		Short: "Serve a directory of kernels to other machines, until a signal ends it",
		Long: `Serve answers GET /H.bin with the kernel of fingerprint H, checked before the first
byte is sent, for remote pipeline caches of kvferry and of vyre-runtime. It says on
standard error where it listens. Clients that were told to require a provenance or
a device refuse all others. There is no listing and no access control: use it in a
network that you trust, with TLS where clients have to know whose kernels they run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return withPipelines(args[0], o.files, func(s *disk.Store) error {
				h, err := remote.NewHandler(s, o.handler)
				if err != nil {
					return typed(err)
				}
				out, err := a.servePipelines(c.Context(), h, o)
				if err != nil {
					return err
				}
				return a.print(out, out.write)
			})
		},
	}
	f := c.Flags()
	o.add(f)
	f.StringVar(&o.handler.Metadata.Provenance, "provenance", "", "what the kernels were built from, as git:abc123")
	f.StringVar(&o.handler.Metadata.Device, "device", "", "what they run on, as cuda-sm90")
	f.BoolVar(&o.files.Unversioned, "unversioned", false, "serve kernels of vyre-runtime 0.6, too")
	f.IntVar(&o.handler.MaxConcurrent, "max-concurrent", 0, "how many kernels are sent at a time; each takes the memory of its file (default 16)")
	return c
}

// servePipelines serves until ctx ends, and lets answers end that were begun.
func (a *app) servePipelines(ctx context.Context, h *remote.Handler, o serving) (served, error) {
	l, certificates, url, err := o.open(ctx)
	if err != nil {
		return served{}, fmt.Errorf("pipeline serve: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: serveHeaderTimeout, ReadTimeout: serveReadTimeout, IdleTimeout: serveIdleTimeout}
	serve := func() error { return srv.Serve(l) }
	if len(certificates) > 0 {
		srv.TLSConfig = &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
		serve = func() error { return srv.ServeTLS(l, "", "") }
	}
	out := served{Address: url}
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	if _, err := fmt.Fprintf(a.err, "kvferry: serving kernels on %s\n", out.Address); err != nil {
		return served{}, errors.Join(err, srv.Close(), ignoreClosed(<-ended))
	}
	select {
	case err = <-ended:
		return served{}, errors.Join(fmt.Errorf("pipeline serve: %w", err), srv.Close())
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveShutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(last); err != nil { // clients that are too slow are cut off
		a.log.Warn("answers were cut off", "error", err)
		err = srv.Close()
		if err != nil {
			return served{}, fmt.Errorf("pipeline serve: %w", err)
		}
	}
	n := h.Served()
	out.Artifacts, out.Bytes, out.Missing, out.Refused, out.Failed = n.Artifacts, n.Bytes, n.Missing, n.Refused, n.Failed
	return out, ignoreClosed(<-ended)
}

// ignoreClosed returns nil for what a server returns that was ended.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s served) write(w io.Writer) error {
	return facts(w,
		"served", fmt.Sprintf("%s, %s", count(s.Artifacts, "kernel"), size(int64(s.Bytes))),
		"missing", fmt.Sprint(s.Missing), "refused", fmt.Sprint(s.Refused), "failed", fmt.Sprint(s.Failed))
}
