package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// machine asks the kernel what dir and the processor are.
func machine(dir string) hardware {
	h := hardware{processor: processor(), memory: "unknown", disk: fileSystem(dir), kernel: "Linux"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.kernel += " " + unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.memory = fmt.Sprintf("%.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	if d := device(dir); d != "" {
		h.disk += " on " + d
	}
	return h
}

// processor is the model's name.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	_, rest, ok := bytes.Cut(text, []byte("model name"))
	if !ok {
		return "unknown processor"
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Trim(string(line), " \t:")
}

// fileSystem names the file system of dir.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown file system"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name, ok := names[int64(st.Type)]; ok { //nolint:unconvert // 32 bits wide elsewhere
		return name
	}
	return fmt.Sprintf("file system %#x", st.Type)
}

// device tells of the block device under dir, "" if there is none.
func device(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return ""
	}
	folder, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return ""
	}
	name := filepath.Base(folder)
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		folder = filepath.Dir(folder)
	}
	if model, err := os.ReadFile(filepath.Join(folder, "device", "model")); err == nil {
		name += ", " + strings.TrimSpace(string(model))
	}
	return name
}
