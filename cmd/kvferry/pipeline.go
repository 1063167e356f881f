package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

func (a *app) pipelineCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pipeline",
		Short: "Look after a directory of compiled kernels",
		Long: `Pipeline looks after a directory of compiled kernels (a pipeline cache): files
H.bin, where H is the fingerprint of a kernel, in the format of vyre-runtime 0.7.
Other files in the directory are never read, changed or removed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("no command given; see %q", c.CommandPath()+" --help"))
		},
	}
	c.AddCommand(a.pipelineListCommand(), a.pipelineVerifyCommand(), a.pipelineCollectCommand(), a.pipelineServeCommand())
	return c
}

// withPipelines opens a directory that is there.
func withPipelines(dir string, o disk.Options, do func(s *disk.Store) error) error {
	o.ReadOnly = true // a directory that is not there is not made
	s, err := disk.Open(dir, o)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// pipelineFile is a file of the directory in JSON documents.
type pipelineFile struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	State    string    `json:"state,omitempty"` // of a file that was read
	Error    string    `json:"error,omitempty"`
	Reason   string    `json:"reason,omitempty"` // why it goes
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
	Used     time.Time `json:"used"`
}

func pipelineFileOf(e disk.Entry) pipelineFile {
	return pipelineFile{Name: e.Name, Kind: e.Kind.String(), Bytes: e.Bytes, Modified: e.Modified.UTC(), Used: e.Used.UTC()}
}

// pipelineListing is the JSON document of pipeline ls.
type pipelineListing struct {
	Files     []pipelineFile `json:"files"`
	Artifacts int            `json:"artifacts"`
	Bytes     int64          `json:"bytes"` // of their files
}

func (a *app) pipelineListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls DIR",
		Short: "List the kernels in a directory",
		Long:  "List shows the kernels in a directory by fingerprint, and other files that kvferry or vyre-runtime left there.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withPipelines(args[0], disk.Options{}, func(s *disk.Store) error {
				entries, err := s.List(c.Context())
				if err != nil {
					return err
				}
				out := pipelineListing{Files: []pipelineFile{}}
				for _, e := range entries {
					if e.Kind == disk.Foreign {
						continue
					}
					if e.Kind == disk.Artifact {
						out.Artifacts++
						out.Bytes += e.Bytes
					}
					out.Files = append(out.Files, pipelineFileOf(e))
				}
				return a.print(out, out.write)
			})
		},
	}
}

func (l pipelineListing) write(w io.Writer) error {
	rows := [][]string{{"NAME", "KIND", "SIZE", "WRITTEN", "USED"}}
	for _, f := range l.Files {
		rows = append(rows, []string{f.Name, f.Kind, size(f.Bytes), when(f.Modified), when(f.Used)})
	}
	if err := columns(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s, %s\n", count(l.Artifacts, "kernel"), size(l.Bytes))
	return err
}

// pipelineCheckup is the JSON document of pipeline verify.
type pipelineCheckup struct {
	OK    bool           `json:"ok"`
	Sound int            `json:"sound"`
	Bytes int64          `json:"bytes"` // of sound files
	Other []pipelineFile `json:"other"` // what cannot be used, or needs a look

	damaged    bool
	unreadable error
}

func (a *app) pipelineVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Read every kernel in a directory and check its hash",
		Long: `Verify reads every kernel in a directory, checks it against its hash and changes
nothing. A damaged one is never served; gc --corrupt removes it. Files from before
there were versions (vyre-runtime 0.6) and of newer schemas are told, and are no
damage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withPipelines(args[0], disk.Options{}, func(s *disk.Store) error {
				out, err := pipelineCheckupOf(c.Context(), s)
				if err != nil {
					return err
				}
				err = errors.Join(a.print(out, out.write), out.unreadable)
				if out.damaged {
					err = errors.Join(err, fmt.Errorf("pipeline verify: damaged kernels; gc --corrupt removes them: %w", kvferry.ErrCorrupt))
				}
				return err
			})
		},
	}
}

func pipelineCheckupOf(ctx context.Context, s *disk.Store) (pipelineCheckup, error) {
	out := pipelineCheckup{OK: true, Other: []pipelineFile{}}
	err := s.Verify(ctx, func(f disk.Finding) error {
		switch f.State {
		case disk.Sound:
			out.Sound++
			out.Bytes += f.Bytes
			return nil
		case disk.Corrupt:
			out.OK, out.damaged = false, true
		case disk.Unreadable:
			out.OK, out.unreadable = false, fmt.Errorf("pipeline verify: %s: %w", f.Name, f.Err)
		case disk.Gone:
			return nil
		case disk.Unread:
			if f.Kind == disk.Foreign {
				return nil
			}
		}
		x := pipelineFileOf(f.Entry)
		x.State = f.State.String()
		if f.Err != nil {
			x.Error = f.Err.Error()
		}
		out.Other = append(out.Other, x)
		return nil
	})
	return out, err
}

func (k pipelineCheckup) write(w io.Writer) error {
	for _, f := range k.Other {
		what := f.State
		switch f.Kind {
		case disk.Aside.String():
			what = "damaged, set aside; gc removes it"
		case disk.Temporary.String():
			what = "being written, or left over; gc removes it then"
		}
		if f.Error != "" {
			what += ": " + f.Error
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", f.Name, what); err != nil {
			return err
		}
	}
	return facts(w, "sound", fmt.Sprintf("%s, %s", count(k.Sound, "kernel"), size(k.Bytes)))
}
