package doctor

import (
	"fmt"
	"runtime"
)

// lowSpace is the free space below which a store is called nearly full.
const lowSpace = 1 << 30

// vectors are the instructions for which there are kernels of bf16.
const vectors = "AVX2, AVX-512 (VBMI2), NEON"

// advise tells what of a report keeps kvferry slower than it could be.
func advise(r Report) []Advice {
	all := []Advice{}
	add := func(when bool, faster, why string) {
		if when {
			all = append(all, Advice{faster, why})
		}
	}
	add(!r.GPUs.usable(), "pages of GPU memory copied out, hashed and compared on the GPU",
		r.GPU+"; pages are read from host memory")
	for _, g := range r.GPUs.Devices {
		all = append(all, g.advise(r.GPUs.Driver)...)
	}
	add(r.GPUs.usable() && r.Memlock != Unlimited && r.Memlock > 0 && r.Memlock < r.Pinned, "large pinned memory",
		"the limit of locked memory is low, and a driver may hold to it: raise it with ulimit -l, or --ulimit memlock=-1 for a container")
	amd64 := runtime.GOARCH == "amd64"
	add(!amd64, "native digests in vector code", "the BLAKE3 library has none for "+r.Arch)
	add(amd64 && !r.CPU.AVX2, "native digests with AVX2", "the processor (or the hypervisor) does not offer AVX2")
	add(amd64 && r.BLAKE3 != wideBLAKE3, "native digests with AVX-512", "the processor (or the hypervisor) does not offer AVX-512")
	add(r.Planes == "portable", "bf16 coded in vector code", "the processor (or the hypervisor) has none of "+vectors)
	add(r.Planes == "avx2", "bf16 coded with AVX-512", "the processor (or the hypervisor) does not offer AVX-512 VBMI2")
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

// advise tells what of a device keeps its copies slower than they could be.
func (g GPU) advise(driver string) []Advice {
	if g.Problem != "" {
		return []Advice{{fmt.Sprintf("use of GPU %d", g.Ordinal), g.Problem}}
	}
	var all []Advice
	if !g.BatchCopy {
		all = append(all, Advice{
			fmt.Sprintf("copies of many small pieces to and from GPU %d in one call", g.Ordinal),
			"the driver serves CUDA " + driver + ", which has no cuMemcpyBatchAsync: it came with 12.8",
		})
	}
	if !g.HostRegister {
		all = append(all, Advice{
			fmt.Sprintf("copies between GPU %d and the process's own memory", g.Ordinal), "the driver cannot pin memory that the process has",
		})
	}
	return all
}

// Features lists the features of the processor in words; empty if it has none
// of those that matter.
func (r Report) Features() []string { return r.CPU.features() }
