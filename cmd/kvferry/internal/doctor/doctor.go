// Package doctor looks at the machine as kvferry finds it: what it runs on,
// what bounds it, and what would make it faster.
package doctor

import (
	"io/fs"
	"os"
	"runtime"

	"github.com/kvferry/kvferry/codec/planes"
)

// Unlimited stands for a limit that is not set.
const Unlimited int64 = -1

// Report is what Examine found. Sizes are bytes.
type Report struct {
	Backend    string `json:"backend"` // how engines are reached
	GPU        string `json:"gpu"`     // which GPUs there are, or why there is none
	GPUs       GPUs   `json:"gpus"`
	Go         string `json:"go"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Processors int    `json:"processors"` // of the machine, as the process may use them
	GoMaxProcs int    `json:"gomaxprocs"` // that Go uses at a time
	CPU        CPU    `json:"cpu"`
	BLAKE3     string `json:"blake3"` // code that computes native digests
	SHA256     string `json:"sha256"` // code that computes ProcessFork's digests
	Planes     string `json:"planes"` // kernels that code bf16
	// Memlock is the limit of locked memory, Unlimited, or 0 where the system
	// does not tell.
	Memlock int64 `json:"memlock_bytes"`
	// CgroupMemory is the control group's memory limit, or Unlimited.
	CgroupMemory int64 `json:"cgroup_memory_bytes"`
	// Pinned is about how much host memory can be pinned for copies to and from
	// GPUs, if Memlock does not bound it; 0 means that nobody tells.
	Pinned    int64     `json:"pinned_bytes"`
	HugePages HugePages `json:"huge_pages"`
	Store     *Store    `json:"store,omitempty"` // nil: none was named
	Advice    []Advice  `json:"advice"`
}

// Advice is one thing that would be faster, and why it is not.
type Advice struct {
	Faster string `json:"faster"`
	Why    string `json:"why"`
}

// Store describes the place of a store.
type Store struct {
	URL   string `json:"url"`
	Path  string `json:"path,omitempty"` // empty: not on a file system
	Free  int64  `json:"free_bytes"`     // for this user
	Total int64  `json:"total_bytes"`
	Error string `json:"error,omitempty"` // why the space is not known
}

// Options say what to look at.
type Options struct {
	StoreURL  string // empty: no store
	StorePath string // the store's directory; it or its parents may be missing
	// Root is the root of the file system, for /proc and /sys; nil means the
	// machine's.
	Root fs.FS
}

// Examine looks at the machine. It changes nothing and fails at nothing: what
// cannot be found out is said to be unknown.
func Examine(o Options) Report {
	if o.Root == nil {
		o.Root = os.DirFS("/")
	}
	r := Report{
		Backend: "host (pages in host memory, synthetic engines)",
		GPUs:    examineGPUs(),
		Go:      runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Processors: runtime.NumCPU(), GoMaxProcs: runtime.GOMAXPROCS(0),
		CPU:          detectCPU(),
		Memlock:      memlock(),
		CgroupMemory: cgroupMemory(o.Root),
		HugePages:    hugePages(o.Root),
	}
	r.GPU = r.GPUs.summary()
	if r.GPUs.usable() {
		r.Backend = "host (pages in host memory, synthetic engines) and cuda (pages in GPU memory)"
	}
	r.Pinned = max(Available(o.Root), 0)
	r.BLAKE3, r.SHA256, r.Planes = r.CPU.blake3(), r.CPU.sha256(), planes.Active()
	if o.StoreURL != "" {
		r.Store = examineStore(o)
	}
	r.Advice = advise(r)
	return r
}
