package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// backend is how this build reaches engines: without a GPU.
const backend = "host"

// build describes the binary.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"` // built from a changed tree
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Backend  string `json:"backend"`
}

func version() build {
	b := build{
		Version: "devel", Commit: "unknown",
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Backend: backend,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := version()
			return a.print(b, func(w io.Writer) error {
				commit := b.Commit
				if b.Modified {
					commit += " (modified)"
				}
				return facts(w, "version", b.Version, "commit", commit, "go", b.Go,
					"platform", b.OS+"/"+b.Arch, "backend", b.Backend)
			})
		},
	}
}
