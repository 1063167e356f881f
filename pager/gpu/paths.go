package gpu

import "github.com/kvferry/kvferry/pager"

// Path is a way to copy the runs of pages.
type Path uint8

// The paths. Staged is one gather or scatter kernel and one large copy; Direct
// merges neighbours and copies every run by one batch submission; Plain is one
// asynchronous copy for each run, which every driver has.
const (
	Direct Path = 1
	Staged Path = 2
	Plain  Path = 3
)

// String returns "direct", "staged" or "plain".
func (p Path) String() string { panic("not written yet") }

// Rule says that runs of up to RunBytes, averaged over a job of at least Runs
// runs after merging, take Path. The first rule that fits counts.
type Rule struct {
	RunBytes int64 `json:"run_bytes"` // 0 means any
	Runs     int64 `json:"runs"`
	Path     Path  `json:"path"`
}

// Paths is the table by which each direction chooses. It is what `kvferry bench
// copy` measures for a device and driver, saves and loads.
type Paths struct {
	Device string `json:"device"` // name of the GPU; "" for the defaults
	UUID   string `json:"uuid"`
	Driver int    `json:"driver"`
	Out    []Rule `json:"out"`
	In     []Rule `json:"in"`
}

// DefaultPaths is the table for devices that were not measured: what figures of
// others tell about PCI Express 4 and 5.
func DefaultPaths() *Paths { panic("not written yet") }

// Choose returns the path for a job of runs pieces of bytes bytes in all.
func (t *Paths) Choose(d pager.Direction, runs, bytes int64) Path { panic("not written yet") }
