package doctor

import (
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func TestCgroupMemory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fs   fstest.MapFS
		want int64
	}{
		{"nothing known", fstest.MapFS{}, Unlimited},
		{"v2 none", fstest.MapFS{
			"proc/self/cgroup":               file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max":   file("max\n"),
			"sys/fs/cgroup/memory.something": file("1"),
		}, Unlimited},
		{"v2 own", fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("4096\n"),
			"sys/fs/cgroup/a/memory.max":   file("8192\n"),
		}, 4096},
		{"v2 parent is tighter", fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"),
			"sys/fs/cgroup/a/memory.max":   file("100\n"),
		}, 100},
		{"v2 root of a container", fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("77\n"),
		}, 77},
		{"v1", fstest.MapFS{
			"proc/self/cgroup":                             file("5:cpu,cpuacct:/x\n4:memory:/x/y\nnonsense\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("12345\n"),
			"sys/fs/cgroup/x/memory.max":                   file("1\n"),
		}, 12345},
		{"no number", fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("many\n"),
		}, Unlimited},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, cgroupMemory(tc.fs))
		})
	}
}

func TestAvailable(t *testing.T) {
	t.Parallel()
	meminfo := file("MemTotal: 9000 kB\nMemAvailable: 1000 kB\nnonsense\n")
	tests := []struct {
		name string
		fs   fstest.MapFS
		want int64
	}{
		{"nothing known", fstest.MapFS{}, Unlimited},
		{"the machine", fstest.MapFS{"proc/meminfo": meminfo}, 1000 << 10},
		{"a group with less", fstest.MapFS{
			"proc/meminfo":                   meminfo,
			"proc/self/cgroup":               file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max":     file("5000\n"),
			"sys/fs/cgroup/a/memory.current": file("4500\n"),
			"sys/fs/cgroup/a/memory.stat":    file("anon 4000\nactive_file 100\ninactive_file 23\n"),
		}, 623},
		{"a group with more", fstest.MapFS{
			"proc/meminfo":               meminfo,
			"proc/self/cgroup":           file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max": file("5000000\n"),
		}, 1000 << 10},
		{"a group that is full", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/x\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("100\n"),
			"sys/fs/cgroup/memory/x/memory.usage_in_bytes": file("101\n"),
		}, 0},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/x\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("100\n"),
			"sys/fs/cgroup/memory/x/memory.usage_in_bytes": file("60\n"),
			"sys/fs/cgroup/memory/x/memory.stat":           file("total_active_file 3\nactive_file 1\n"),
		}, 43},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, Available(tc.fs))
		})
	}
}

func TestHugePages(t *testing.T) {
	t.Parallel()
	got := hugePages(fstest.MapFS{
		"sys/kernel/mm/transparent_hugepage/enabled": file("always [madvise] never\n"),
		"proc/meminfo": file("MemTotal: 100 kB\nHugePages_Total:       7\nHugePages_Free:        5\nHugepagesize:       2048 kB\n"),
	})
	require.Equal(t, HugePages{Transparent: "madvise", Size: 2 << 20, Reserved: 7, Free: 5}, got)
	require.Equal(t, HugePages{Transparent: "unknown"}, hugePages(fstest.MapFS{}))
}

func TestExamineTellsTheSpaceOfAStoreThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("free space is known on linux and darwin")
	}
	r := Examine(Options{StoreURL: "dir:x", StorePath: filepath.Join(t.TempDir(), "not", "yet")})
	require.NotNil(t, r.Store)
	require.Empty(t, r.Store.Error)
	require.Positive(t, r.Store.Total)
	require.LessOrEqual(t, r.Store.Free, r.Store.Total)
}

func TestExamineWithoutAStore(t *testing.T) {
	t.Parallel()
	r := Examine(Options{Root: fstest.MapFS{}})
	require.Nil(t, r.Store)
	require.NotEmpty(t, r.BLAKE3)
	require.NotEmpty(t, r.Planes)
	require.Equal(t, Unlimited, r.CgroupMemory)
}

func TestAdviceNamesTheReason(t *testing.T) {
	t.Parallel()
	faster := func(r Report) []string {
		var out []string
		for _, a := range advise(r) {
			require.NotEmpty(t, a.Why)
			out = append(out, a.Faster)
		}
		return out
	}
	good := Report{CPU: CPU{AVX2: true, AVX512: true, SHA: true}, BLAKE3: wideBLAKE3, Planes: "avx512", Processors: 2, GoMaxProcs: 2}
	base := faster(good)
	tests := []struct {
		name string
		mend func(*Report)
		want string
	}{
		{"no SHA", func(r *Report) { r.CPU.SHA = false }, "ProcessFork digests in SHA instructions"},
		{"no AVX-512", func(r *Report) { r.BLAKE3 = "AVX2 (8 chunks at a time)" }, "native digests with AVX-512"},
		{"bf16 by AVX2", func(r *Report) { r.Planes = "avx2" }, "bf16 coded with AVX-512"},
		{"bf16 in Go", func(r *Report) { r.Planes = "portable" }, "bf16 coded in vector code"},
		{"held back", func(r *Report) { r.GoMaxProcs = 1 }, "one worker per processor"},
		{"no huge pages", func(r *Report) { r.HugePages.Transparent = "never" }, "staging memory in huge pages"},
		{"full disk", func(r *Report) { r.Store = &Store{Path: "x", Free: 5} }, "a store with room"},
	}
	for _, tc := range tests {
		require.NotContains(t, base, tc.want, tc.name)
		r := good
		tc.mend(&r)
		require.Contains(t, faster(r), tc.want, tc.name)
	}
}

func TestGPUsAreSummed(t *testing.T) {
	t.Parallel()
	one := GPU{Name: "Model X", BatchCopy: true, HostRegister: true}
	broken := GPU{Ordinal: 1, Problem: "it is busy"}
	for want, g := range map[string]GPUs{
		"no driver":                       {Problem: "no driver"},
		"no device can be opened":         {Driver: "12.8", Devices: []GPU{broken}},
		"Model X, driver for CUDA 12.8":   {Driver: "12.8", Devices: []GPU{one}},
		"2 devices, driver for CUDA 12.8": {Driver: "12.8", Devices: []GPU{one, broken}},
	} {
		require.Equal(t, want, g.summary())
	}
	require.Empty(t, one.advise("12.8"))
	require.Equal(t, []Advice{{"use of GPU 1", "it is busy"}}, broken.advise("12.8"))
	require.Len(t, GPU{}.advise("11.8"), 2, "neither batches nor registered memory")
}

func TestAdviceOfGPUs(t *testing.T) {
	t.Parallel()
	names := func(r Report) []string {
		var out []string
		for _, a := range advise(r) {
			out = append(out, a.Faster)
		}
		return out
	}
	const onGPU, pinned = "pages of GPU memory copied out, hashed and compared on the GPU", "large pinned memory"
	require.Contains(t, names(Report{GPU: "none"}), onGPU)
	some := Report{GPUs: GPUs{Devices: []GPU{{BatchCopy: true, HostRegister: true}}}, Memlock: 8 << 20, Pinned: 1 << 30}
	require.NotContains(t, names(some), onGPU)
	require.Contains(t, names(some), pinned)
	some.Memlock = Unlimited
	require.NotContains(t, names(some), pinned)
}
