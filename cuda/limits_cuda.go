//go:build cuda

package cuda

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// roomFrom is the least that is worth a look at the limits.
const roomFrom = 16 << 20

// checkRoom refuses what the system or the control group has no memory for.
// Touching it would not fail: it would get some process killed.
func checkRoom(root fs.FS, bytes int64) error {
	if bytes < roomFrom {
		return nil
	}
	if room := availableBytes(root); room < bytes {
		return fmt.Errorf("cuda: pin %d bytes: the system has %d: %w", bytes, room, kvferry.ErrOutOfMemory)
	}
	if g := groupRoom(root); g.room < bytes {
		return fmt.Errorf("cuda: pin %d bytes: the control group %s is limited to %d, %d are left: raise the container's memory limit or pin less: %w",
			bytes, g.name, g.limit, g.room, kvferry.ErrOutOfMemory)
	}
	return nil
}

// limitsText tells what may have been too low.
func limitsText(root fs.FS) string {
	text := "limit of locked memory: "
	var l unix.Rlimit
	switch err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); {
	case err != nil:
		text += "unknown"
	case l.Cur == unix.RLIM_INFINITY:
		text += "none"
	default:
		text += fmt.Sprintf("%d bytes, see ulimit -l, or --ulimit memlock=-1 for a container", l.Cur)
	}
	if room := availableBytes(root); room != math.MaxInt64 {
		text += fmt.Sprintf("; memory available: %d", room)
	}
	if g := groupRoom(root); g.name != "" {
		text += fmt.Sprintf("; left to control group %s: %d of %d", g.name, g.room, g.limit)
	}
	return text
}

// availableBytes returns what the system can give without swapping.
func availableBytes(root fs.FS) int64 {
	if kib, ok := field(line(root, "proc/meminfo"), "MemAvailable:"); ok {
		return kib << 10
	}
	return math.MaxInt64
}

// group is the tightest of the control groups that the process is in.
type group struct {
	name        string // "" if none has a limit
	limit, room int64
}

func groupRoom(root fs.FS) group {
	tightest := group{room: math.MaxInt64}
	for _, l := range strings.Split(line(root, "proc/self/cgroup"), "\n") {
		parts := strings.SplitN(l, ":", 3)
		if len(parts) != 3 {
			continue
		}
		files := groupFiles{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}
		switch parts[1] {
		case "":
		case "memory":
			files = groupFiles{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
		default:
			continue
		}
		// A limit holds for all below it. Seen from a container, the own group is the top.
		for name := path.Clean("/" + parts[2]); ; name = path.Dir(name) {
			if g, ok := files.read(root, name); ok && g.room < tightest.room {
				tightest = g
			}
			if name == "/" {
				break
			}
		}
	}
	return tightest
}

// groupFiles are the files that tell a control group's memory.
type groupFiles struct{ top, limit, used, reclaimable string }

// unlimited is what the first version of control groups says for no limit, less
// the rounding to pages.
const unlimited = math.MaxInt64 >> 1

func (f groupFiles) read(root fs.FS, name string) (group, bool) {
	dir := path.Join(f.top, name)
	limit, err := strconv.ParseInt(line(root, dir+"/"+f.limit), 10, 64)
	if err != nil || limit >= unlimited {
		return group{}, false
	}
	used, err := strconv.ParseInt(line(root, dir+"/"+f.used), 10, 64)
	if err != nil {
		return group{}, false
	}
	cached, _ := field(line(root, dir+"/memory.stat"), f.reclaimable)
	return group{name, limit, max(limit-used+cached, 0)}, true
}

// field returns the number after a word at the start of a line.
func field(text, word string) (int64, bool) {
	for _, l := range strings.Split(text, "\n") {
		if words := strings.Fields(l); len(words) >= 2 && words[0] == word {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
