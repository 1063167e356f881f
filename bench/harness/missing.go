package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WhyNoPeer says why a peer is not installed: what make bench-peers wrote into
// NAME.missing, or that nobody installed it.
func (e *Env) WhyNoPeer(name string) string {
	if e.Peers == "" {
		return "no peers were asked for"
	}
	told, err := os.ReadFile(filepath.Join(e.Peers, name+".missing"))
	if why, _, _ := strings.Cut(strings.TrimSpace(string(told)), "\n"); err == nil && why != "" {
		return why
	}
	return fmt.Sprintf("%s is not installed: run make bench-peers", name)
}
