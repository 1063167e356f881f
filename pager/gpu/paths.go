package gpu

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

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

// pathNames are the paths' texts, by number.
var pathNames = [...]string{Direct: "direct", Staged: "staged", Plain: "plain"}

// Valid reports whether p is one of the paths.
func (p Path) Valid() bool { return p >= Direct && p <= Plain }

// String returns "direct", "staged" or "plain".
func (p Path) String() string {
	if !p.Valid() {
		return fmt.Sprintf("path(%d)", uint8(p))
	}
	return pathNames[p]
}

// MarshalText returns the name.
func (p Path) MarshalText() ([]byte, error) {
	if !p.Valid() {
		return nil, fmt.Errorf("gpu: path %d: %w", uint8(p), kvferry.ErrInvalid)
	}
	return []byte(pathNames[p]), nil
}

// UnmarshalText takes the name; another one is ErrInvalid.
func (p *Path) UnmarshalText(text []byte) error {
	for i, name := range pathNames {
		if i > 0 && name == string(text) {
			*p = Path(i)
			return nil
		}
	}
	return fmt.Errorf("gpu: path %.20q, want direct, staged or plain: %w", text, kvferry.ErrInvalid)
}

// Rule says that runs of up to RunBytes, averaged over a batch of at least Runs
// runs after merging, take Path. The first rule that fits counts.
type Rule struct {
	RunBytes int64 `json:"run_bytes"` // 0 means any
	Runs     int64 `json:"runs"`
	Path     Path  `json:"path"`
}

// Paths is the table by which each direction chooses. It is what `kvferry bench
// copy` measures for a device and driver, saves and loads. What no rule fits
// takes Staged, whose cost depends least on the runs.
type Paths struct {
	Device string `json:"device"` // name of the GPU; "" fits every one
	UUID   string `json:"uuid"`   // of the GPU; "" fits every one of the name
	Driver int    `json:"driver"` // CUDA version of the driver; 0 fits every one
	Out    []Rule `json:"out"`
	In     []Rule `json:"in"`
}

// DefaultPaths is the table for devices that were not measured: what figures of
// others tell about PCI Express 4 and 5. A batch of copies reaches the link's
// rate from about 64 KiB a copy and costs half a microsecond for each; a gather
// costs about 3 % of the link's time and a launch. So a handful of runs is
// copied as it is, and so are long ones.
func DefaultPaths() *Paths {
	rules := func() []Rule {
		return []Rule{{RunBytes: 128 << 10, Runs: 5, Path: Staged}, {Path: Direct}}
	}
	return &Paths{Out: rules(), In: rules()}
}

// Forced returns a table by which everything takes p.
func Forced(p Path) *Paths {
	return &Paths{Out: []Rule{{Path: p}}, In: []Rule{{Path: p}}}
}

// Choose returns the path for a batch of runs pieces of bytes bytes in all.
func (t *Paths) Choose(d pager.Direction, runs, bytes int64) Path {
	rules := t.Out
	if d == pager.In {
		rules = t.In
	}
	for _, r := range rules {
		if runs >= r.Runs && (r.RunBytes == 0 || bytes <= satMul(r.RunBytes, runs)) {
			return r.Path
		}
	}
	return Staged
}

// satMul multiplies numbers that are not negative and stops at the largest.
func satMul(a, b int64) int64 {
	if a != 0 && b > (1<<63-1)/a {
		return 1<<63 - 1
	}
	return a * b
}

// maxRules bounds the rules of a direction.
const maxRules = 64

// Validate returns ErrInvalid if a rule has a number out of range or no path,
// or if there are too many.
func (t *Paths) Validate() error {
	if t.Driver < 0 || len(t.Device) > 256 || len(t.UUID) > 64 {
		return fmt.Errorf("gpu: paths for driver %d, device %.32q: %w", t.Driver, t.Device, kvferry.ErrInvalid)
	}
	for _, rules := range [...][]Rule{t.Out, t.In} {
		if len(rules) > maxRules {
			return fmt.Errorf("gpu: paths with %d rules, want at most %d: %w", len(rules), maxRules, kvferry.ErrInvalid)
		}
		for i, r := range rules {
			if r.RunBytes < 0 || r.Runs < 0 || !r.Path.Valid() {
				return fmt.Errorf("gpu: paths, rule %d: %d bytes, %d runs, %v: %w", i, r.RunBytes, r.Runs, r.Path, kvferry.ErrInvalid)
			}
		}
	}
	return nil
}

// Fits returns nil if the table holds for a device, else an error that wraps
// ErrInvalid and says what differs.
func (t *Paths) Fits(f cuda.Facts) error {
	switch {
	case t.Device != "" && t.Device != f.Name:
		return fmt.Errorf("gpu: paths were measured on %q, this is %q: measure anew with kvferry bench copy: %w", t.Device, f.Name, kvferry.ErrInvalid)
	case t.UUID != "" && t.UUID != f.UUID:
		return fmt.Errorf("gpu: paths were measured on the device %s, this is %s: measure anew, or leave the UUID out: %w", t.UUID, f.UUID, kvferry.ErrInvalid)
	case t.Driver != 0 && t.Driver != int(f.Driver):
		return fmt.Errorf("gpu: paths were measured with driver %v, this is %v: measure anew with kvferry bench copy: %w", cuda.Version(t.Driver), f.Driver, kvferry.ErrInvalid)
	}
	return nil
}

// clone returns a copy that shares nothing with t.
func (t *Paths) clone() *Paths {
	c := *t
	c.Out, c.In = append([]Rule(nil), t.Out...), append([]Rule(nil), t.In...)
	return &c
}
