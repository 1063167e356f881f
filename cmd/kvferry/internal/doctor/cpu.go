package doctor

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/cpu"

	"github.com/kvferry/kvferry/digest/blake3"
)

// CPU is the processor with the features that the hot paths could use.
type CPU struct {
	Model  string `json:"model"`
	SSE41  bool   `json:"sse41"`
	AVX2   bool   `json:"avx2"`
	AVX512 bool   `json:"avx512"`
	// SHA says that SHA-256 has instructions: SHA-NI on x86, SHA2 on ARM.
	SHA bool `json:"sha"`
}

// detectCPU asks golang.org/x/sys/cpu for what it knows; SHA-NI and the model
// it does not know.
func detectCPU() CPU {
	c := CPU{
		Model:  cpuid.CPU.BrandName,
		SSE41:  cpu.X86.HasSSE41,
		AVX2:   cpu.X86.HasAVX2,
		AVX512: cpu.X86.HasAVX512,
		SHA:    cpuid.CPU.Has(cpuid.SHA) || cpu.ARM64.HasSHA2,
	}
	if c.Model == "" {
		c.Model = "unknown"
	}
	return c
}

// features lists what the processor has, of what is asked for.
func (c CPU) features() []string {
	var out []string
	for _, f := range []struct {
		name string
		has  bool
	}{{"SSE4.1", c.SSE41}, {"AVX2", c.AVX2}, {"AVX-512", c.AVX512}, {"SHA", c.SHA}} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// wideBLAKE3 is what hashes fastest.
const wideBLAKE3 = "AVX-512 (16 chunks at a time)"

// blake3 says which code hashes: kvferry's own kernel, or the hash library's,
// which has assembly for amd64 alone and chooses by the same features.
func (c CPU) blake3() string {
	switch {
	case blake3.Active() == "avx512":
		return wideBLAKE3
	case runtime.GOARCH != "amd64":
		return "portable Go"
	case c.AVX2:
		return "AVX2 (8 chunks at a time)"
	case c.SSE41:
		return "SSE4.1"
	}
	return "portable Go"
}

func (c CPU) sha256() string {
	switch {
	case c.SHA:
		return "SHA instructions"
	case c.AVX2:
		return "AVX2"
	}
	return "portable"
}
