//go:build unix && !linux

package dir

import "golang.org/x/sys/unix"

func openBeneath(root int, rel string, flags int, mode uint32) (int, error) {
	return openWalking(root, rel, flags, mode)
}

func startWriteback(int) {}

func syncWhole(int) error { return unix.ENOSYS }

func syncWholeReports() bool { return false }

func lockHolders(*unix.Stat_t) []string { return nil }

func syncWholeKnown(int) bool { return false }
