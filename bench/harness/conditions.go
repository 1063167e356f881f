package harness

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// conditions collects what a reader needs to know to repeat a run in dir.
func conditions(e *Env, dir string) []Condition {
	m := machine(dir)
	c := []Condition{
		{"date", time.Now().UTC().Format(time.DateOnly)},
		{"commit", commit()},
		{"processor", fmt.Sprintf("%s, %d of its cores", m.processor, runtime.NumCPU())},
		{"memory", m.memory},
		{"disk", m.disk},
		{"kernel", m.kernel},
		{"Go", fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)},
		{"libraries", libraries()},
		{"scale", e.Scale.String()},
		{"rounds", fmt.Sprint(max(1, e.Rounds))},
	}
	if e.Scale == Smoke {
		c = append(c, Condition{"note", "a smoke run: these figures mean nothing"})
	}
	return c
}

// hardware is what figures were taken on.
type hardware struct{ processor, memory, disk, kernel string }

// commit is that which the program was built from, as far as it knows.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	hash, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			hash = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	return hash + changed
}

// libraries names those that do measured work, at their versions.
func libraries() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	measured := []string{
		"github.com/klauspost/compress", "github.com/zeebo/blake3", "github.com/cockroachdb/pebble/v2", "github.com/redis/rueidis",
	}
	var out []string
	for _, m := range info.Deps {
		if slices.Contains(measured, m.Path) {
			out = append(out, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return strings.Join(out, ", ")
}

// load is the machine's load of the last minute, "" where the kernel does not
// tell.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
