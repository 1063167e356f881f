package index

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// counted reads what the kernel counted of a process.
func counted(pid int) (Kernel, error) {
	var k Kernel
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return k, fmt.Errorf("kernel's counts: %w", err)
	}
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return k, fmt.Errorf("kernel's counts: %w", err)
		}
		switch key {
		case "write_bytes":
			k.WriteBytes = n
		case "wchar":
			k.WriteChars = n
		case "syscw":
			k.Writes = n
		}
	}
	return k, nil
}

// memoryBytes returns how much anonymous memory a process holds.
func memoryBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("resident memory: the kernel does not tell")
}

// cpuSeconds is what this process took of the processors.
func cpuSeconds() (float64, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9, nil
}

// diskBytes is what the files below a folder take of the disk.
func diskBytes(dir string) (uint64, error) {
	var sum uint64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file that was there a moment ago, or a folder in memory
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil //nolint:nilerr // it went between
		}
		sum += uint64(st.Blocks) * 512
		return nil
	})
	return sum, err
}

// machine describes what the figures are taken on.
func machine(dir string) string {
	var u unix.Utsname
	kernel := "Linux"
	if unix.Uname(&u) == nil {
		kernel += " " + unix.ByteSliceToString(u.Release[:])
	}
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.Trim(line, " \t:")
		}
	}
	var info unix.Sysinfo_t
	load := "unknown load"
	if unix.Sysinfo(&info) == nil {
		model += fmt.Sprintf(", %.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30))
		load = fmt.Sprintf("load average %.1f at the start", float64(info.Loads[0])/(1<<16))
	}
	var st unix.Statfs_t
	system := "unknown file system"
	if unix.Statfs(dir, &st) == nil {
		system = fmt.Sprintf("file system %#x", st.Type)
		if name, ok := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs"}[st.Type]; ok {
			system = name
		}
	}
	return strings.Join([]string{cores(), model, system, kernel, goVersion(), load}, ", ")
}

// syncData makes what was written to a file durable.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
