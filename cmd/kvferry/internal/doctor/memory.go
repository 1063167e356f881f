package doctor

import (
	"bufio"
	"bytes"
	"io/fs"
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
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return h
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		value, kib := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		if kib {
			n <<= 10
		}
		switch name {
		case "Hugepagesize":
			h.Size = n
		case "HugePages_Total":
			h.Reserved = n
		case "HugePages_Free":
			h.Free = n
		}
	}
	return h
}

// cgroupMemory returns the smallest memory limit of the process's control
// group and the groups around it.
func cgroupMemory(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return Unlimited
	}
	limit := Unlimited
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		// hierarchy:controllers:path; version 2 has no controllers.
		f := strings.SplitN(s.Text(), ":", 3)
		if len(f) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case f[1] == "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case f[0] != "0" || f[1] != "":
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			limit = tighter(limit, readLimit(root, path.Join(mount, dir, file)))
			if dir == "/" {
				break
			}
		}
	}
	return limit
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
