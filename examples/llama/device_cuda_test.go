//go:build cuda

package main

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// onDevice is the story with its cache in the memory of a GPU.
func (s story) onDevice() story {
	s.flags = append(s.flags[:len(s.flags):len(s.flags)], "-device", "0")
	return s
}

// TestContinueOnDevice captures a cache in device memory at three steps and
// restores it in another process and in a busy engine, whose caches are in
// device memory too, and in one in host memory; and a cache in host memory is
// restored into device memory. All go on token for token.
func TestContinueOnDevice(t *testing.T) {
	softcuda.Device(t) // watches what this process does, and skips without a device
	host := seededStory(t)
	device := host.onDevice()
	want, wantGuest := host.uninterrupted(t), host.guest().uninterrupted(t)[0]
	require.Equal(t, want, device.uninterrupted(t), "the place of the cache does not matter")
	for i, step := range []int{2, 11, 34} {
		if !softcuda.Mine(i) { // shared as the points of a sweep are
			continue
		}
		t.Run("step="+strconv.Itoa(step), func(t *testing.T) {
			store := filepath.Join(t.TempDir(), "store")
			before := device.capture(t, store, step)
			require.Equal(t, host.capture(t, filepath.Join(t.TempDir(), "store"), step), before)
			t.Run("into=device", func(t *testing.T) { device.inProcess(t, store, want) })
			t.Run("into=busy", func(t *testing.T) { device.inBusy(t, store, want, wantGuest) })
			t.Run("into=host", func(t *testing.T) { host.inProcess(t, store, want) })
		})
	}
	store := filepath.Join(t.TempDir(), "store")
	host.capture(t, store, 24)
	device.inProcess(t, store, want)
}
