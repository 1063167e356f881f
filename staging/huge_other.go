//go:build unix && !linux

package staging

func adviseHuge([]byte) {}
