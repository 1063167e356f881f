package doctor

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// HugePages says what the kernel offers.
type HugePages struct {
	// Transparent is the mode of transparent huge pages: always, madvise,
	// never, or unknown.
	Transparent string `json:"transparent"`
	Size        int64  `json:"size_bytes"` // 0: unknown
	Reserved    int64  `json:"reserved"`   // pages set aside by the administrator
	Free        int64  `json:"free"`       // of them
}

func hugePages(root fs.FS) HugePages {
	h := HugePages{Transparent: "unknown"}
	if b, err := fs.ReadFile(root, "sys/kernel/mm/transparent_hugepage/enabled"); err == nil {
		// The mode in force stands in brackets: "always [madvise] never".
		if _, rest, ok := strings.Cut(string(b), "["); ok {
			h.Transparent, _, _ = strings.Cut(rest, "]")
		}
	}
	m := readTable(root, "proc/meminfo")
	h.Size, h.Reserved, h.Free = m["Hugepagesize"], m["HugePages_Total"], m["HugePages_Free"]
	return h
}

// memoryGroup is a control group that counts memory, under the names of its
// hierarchy's version.
type memoryGroup struct {
	dir               string
	limit, used, stat string
	cache             []string // keys of stat: what the kernel drops when memory is short
}

// memoryGroups returns the process's control group and the groups around it.
func memoryGroups(root fs.FS) []memoryGroup {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var all []memoryGroup
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path; version 2 has no controllers.
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		mount := "sys/fs/cgroup"
		g := memoryGroup{
			limit: "memory.max", used: "memory.current", stat: "memory.stat",
			cache: []string{"active_file", "inactive_file"},
		}
		switch {
		case f[1] == "memory":
			mount += "/memory"
			g.limit, g.used = "memory.limit_in_bytes", "memory.usage_in_bytes"
			g.cache = []string{"total_active_file", "total_inactive_file"}
		case f[0] != "0" || f[1] != "":
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			g.dir = path.Join(mount, dir)
			all = append(all, g)
			if dir == "/" {
				break
			}
		}
	}
	return all
}

// cgroupMemory returns the smallest memory limit of the process's control
// group and the groups around it.
func cgroupMemory(root fs.FS) int64 {
	limit := Unlimited
	for _, g := range memoryGroups(root) {
		limit = tighter(limit, readLimit(root, path.Join(g.dir, g.limit)))
	}
	return limit
}

// Available returns about how many bytes of memory the process can still take:
// what the machine has, and what its control groups leave, file caches counted
// as free. Unlimited means that nobody tells. A nil root means the machine's.
func Available(root fs.FS) int64 {
	if root == nil {
		root = os.DirFS("/")
	}
	left := Unlimited
	if n, ok := readTable(root, "proc/meminfo")["MemAvailable"]; ok {
		left = n
	}
	for _, g := range memoryGroups(root) {
		limit := readLimit(root, path.Join(g.dir, g.limit))
		if limit == Unlimited {
			continue
		}
		if used := readLimit(root, path.Join(g.dir, g.used)); used != Unlimited {
			limit -= used
		}
		stat := readTable(root, path.Join(g.dir, g.stat))
		for _, key := range g.cache {
			limit += stat[key]
		}
		left = tighter(left, max(limit, 0))
	}
	return left
}

// readTable reads lines of a name and a number, with a colon between them or
// without; kB are made bytes. What is not there is an empty table.
func readTable(root fs.FS, name string) map[string]int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return nil
	}
	table := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		if len(f) > 2 && f[2] == "kB" {
			n <<= 10
		}
		table[strings.TrimSuffix(f[0], ":")] = n
	}
	return table
}

// readLimit reads a limit file; "max", a missing file and the huge numbers
// that version 1 writes for "none" are Unlimited.
func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return Unlimited
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 || n >= 1<<62 {
		return Unlimited
	}
	return n
}

func tighter(a, b int64) int64 {
	if a == Unlimited || b != Unlimited && b < a {
		return b
	}
	return a
}
