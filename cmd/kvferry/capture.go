package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// writeFlags are the flags of the commands that write a snapshot.
type writeFlags struct {
	name, format, codec string
	image               bool
}

func (f *writeFlags) add(c *cobra.Command, format string) {
	c.Flags().StringVar(&f.name, "name", "", "point this `name` at the snapshot; a name that exists is moved")
	c.Flags().StringVar(&f.format, "format", format, "`format` of the snapshot: native or processfork")
	c.Flags().StringVar(&f.codec, "codec", codec.Auto.String(), "how blobs are encoded: one of "+codec.ModeNames())
	c.Flags().BoolVar(&f.image, "image", true, "with --format processfork, write an image beside the manifest, so that ProcessFork's own collector keeps it")
}

// writing is what writeFlags say, parsed.
type writing struct {
	names  []string
	format cas.Format
	codec  codec.Mode
	image  *capture.Image
}

func (f *writeFlags) parse() (writing, error) {
	w := writing{format: cas.Format(f.format)}
	if !w.format.Valid() {
		return w, usage(fmt.Errorf("--format %q is not one of %s, %s", f.format, cas.FormatNative, cas.FormatProcessFork))
	}
	if f.name != "" {
		if err := cas.CheckName(f.name); err != nil {
			return w, usage(fmt.Errorf("--name: %w", err))
		}
		w.names = []string{f.name}
	}
	m, err := codec.ParseMode(f.codec)
	if err != nil {
		return w, usage(fmt.Errorf("--codec: %w", err))
	}
	w.codec = m
	if f.image && w.format == cas.FormatProcessFork {
		w.image = &capture.Image{AgentKind: "kvferry", AgentVersion: version().Version}
	}
	return w, nil
}

// written is the JSON document of a command that wrote a snapshot.
type written struct {
	Digest      string `json:"digest"`
	Name        string `json:"name"`
	Format      string `json:"format"`
	Image       string `json:"image,omitempty"` // digest of the ProcessFork image
	Pages       int    `json:"pages"`
	Sequences   int    `json:"sequences"`
	Bytes       int64  `json:"bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	NewBytes    int64  `json:"new_bytes"`
	NewBlobs    int64  `json:"new_blobs"`
	// Codecs say how new blobs are stored, by the codec's name.
	Codecs  map[string]coded `json:"codecs,omitempty"`
	PauseMS float64          `json:"pause_ms"`
	Seconds float64          `json:"seconds"`
	Since   *changes         `json:"since,omitempty"` // of an incremental capture
	// Omitted are sequences that --lenient left out.
	Omitted []omission `json:"omitted,omitempty"`
}

// coded is what one codec did.
type coded struct {
	Blobs       int64 `json:"blobs"`
	Bytes       int64 `json:"bytes"`
	StoredBytes int64 `json:"stored_bytes"`
}

func codedOf(all []capture.CodecReport) map[string]coded {
	m := map[string]coded{}
	for _, c := range all {
		m[c.Codec.String()] = coded{c.Blobs, c.Bytes, c.StoredBytes}
	}
	return m
}

// describeCodecs tells it in a line, the codec of most bytes first.
func describeCodecs(all []capture.CodecReport) string {
	var texts []string
	for _, c := range all {
		share := float64(c.StoredBytes) / float64(max(c.Bytes, 1))
		texts = append(texts, fmt.Sprintf("%s: %s of %s (%.3f)", c.Codec, count(int(c.Blobs), "blob"), size(c.Bytes), share))
	}
	return strings.Join(texts, ", ")
}

func writtenOf(r capture.Report) written {
	w := written{
		Digest: r.Root.String(), Format: string(r.Format), Pages: r.Pages, Sequences: r.Sequences, Bytes: r.Bytes,
		StoredBytes: r.StoredBytes, NewBytes: r.NewBytes, NewBlobs: r.NewBlobs, Codecs: codedOf(r.Codecs),
		PauseMS: milliseconds(r.Pause.Total), Seconds: r.Elapsed.Seconds(),
	}
	if len(r.Names) > 0 {
		w.Name = r.Names[0]
	}
	if r.ImageRoot.Valid() {
		w.Image = r.ImageRoot.String()
	}
	w.Since = changesOf(r)
	return w
}

func (a *app) printWritten(r capture.Report, paused bool) error {
	doc := writtenOf(r)
	doc.Omitted = a.omitted(r.Omitted)
	return a.print(doc, func(w io.Writer) error {
		pairs := []string{
			"digest", r.Root.String(),
			"name", orDash(strings.Join(r.Names, " ")),
			"format", string(r.Format),
		}
		if r.ImageRoot.Valid() {
			pairs = append(pairs, "image", r.ImageRoot.String())
		}
		pairs = append(pairs,
			"content", fmt.Sprintf("%s, %s, %s", count(r.Pages, "page"), count(r.Sequences, "sequence"), size(r.Bytes)),
			"new", fmt.Sprintf("%s in %s, %s in the store", size(r.NewBytes), count(r.NewBlobs, "blob"), size(r.StoredBytes)),
		)
		if len(r.Codecs) > 0 {
			pairs = append(pairs, "codec", describeCodecs(r.Codecs))
		}
		pairs = append(pairs, doc.Since.facts(r)...)
		if paused {
			pairs = append(pairs, "pause", span(r.Pause.Total))
		}
		return facts(w, append(pairs, "time", span(r.Elapsed)+", "+rate(r.Bytes, r.Elapsed))...)
	})
}

func (a *app) captureCommand() *cobra.Command {
	var (
		spec  string
		since string
		flags writeFlags
		move  transferFlags
	)
	c := &cobra.Command{
		Use:   "capture --pager SPEC [--store URL]",
		Short: "Capture a paged KV cache into a store",
		Long: `Capture pauses an engine, copies its pages out, resumes it with the last copy,
and publishes a snapshot when every byte of it is stored.

SPEC names the engine:
  synthetic:page-tokens=8,layers=4,kv-heads=4,head-dim=8,dtype=bf16,pages=64,seed=0,fill=seed
Every key may be left out. fill=kv makes data like a model's keys and values.

With --since the capture is incremental: the engine compares its pages with
those of an earlier snapshot, and copies out only what is new. The snapshot is
the same as without.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := flags.parse()
			if err != nil {
				return err
			}
			t, err := move.parse()
			if err != nil {
				return err
			}
			engine, err := openPager(spec)
			if err != nil {
				return err
			}
			err = a.withStore(c.Context(), writeAccess, func(ctx context.Context, s cas.Store) error {
				o := capture.Options{Names: w.names, Format: w.format, Codec: w.codec, Image: w.image, Transfer: t}
				if since == "" {
					return a.capture(ctx, engine, s, o)
				}
				if o.Since, err = baseOf(ctx, s, since, w.format); err != nil {
					return err
				}
				return a.capture(ctx, engine.With(synthetic.Digester), s, o)
			})
			return errors.Join(err, engine.Close())
		},
	}
	c.Flags().StringVar(&spec, "pager", "", "engine to capture (`SPEC`, see above)")
	c.Flags().StringVar(&since, "since", "", "copy out only what changed since the snapshot `REF`, of the same engine, format and store")
	flags.add(c, string(cas.FormatNative))
	move.add(c)
	return c
}

// capture captures an engine and prints the report.
func (a *app) capture(ctx context.Context, engine pager.Pager, s cas.Store, o capture.Options) error {
	p := a.progress("capture")
	defer p.done()
	o.Progress = p.update
	r, err := capture.Capture(ctx, engine, s, o)
	p.done()
	if !r.Root.Valid() {
		return err
	}
	// A snapshot can be there although the engine did not resume.
	return errors.Join(a.printWritten(r, true), err)
}
