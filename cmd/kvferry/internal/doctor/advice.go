package doctor

import (
	"fmt"
	"runtime"
)

// lowSpace is the free space below which a store is called nearly full.
const lowSpace = 1 << 30

// advise tells what of a report keeps kvferry slower than it could be.
func advise(r Report) []Advice {
	all := []Advice{{
		"pages of GPU memory copied out, hashed and compared on the GPU",
		r.GPU + "; pages are read from host memory",
	}}
	add := func(when bool, faster, why string) {
		if when {
			all = append(all, Advice{faster, why})
		}
	}
	amd64 := runtime.GOARCH == "amd64"
	add(!amd64, "native digests in vector code", "the BLAKE3 library has none for "+r.Arch)
	add(amd64 && !r.CPU.AVX2, "native digests with AVX2", "the processor (or the hypervisor) does not offer AVX2")
	add(r.CPU.AVX512, "native digests with AVX-512", "the BLAKE3 library stops at AVX2")
	add(!r.CPU.SHA, "ProcessFork digests in SHA instructions", "the processor (or the hypervisor) does not offer them")
	add(r.GoMaxProcs < r.Processors, "one worker per processor",
		fmt.Sprintf("Go is held to %d of %d processors (GOMAXPROCS or a CPU quota)", r.GoMaxProcs, r.Processors))
	add(r.HugePages.Transparent == "never", "staging memory in huge pages",
		"transparent huge pages are off (/sys/kernel/mm/transparent_hugepage/enabled)")
	add(r.Store != nil && r.Store.Path != "", "captures of many small pages",
		"a dir: store keeps one file per blob")
	add(r.Store != nil && r.Store.Path != "" && r.Store.Error == "" && r.Store.Free < lowSpace,
		"a store with room", "less than 1 GiB is free on its file system")
	return all
}

// Features lists the features of the processor in words; empty if it has none
// of those that matter.
func (r Report) Features() []string { return r.CPU.features() }
