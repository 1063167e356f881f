//go:build cuda

package softcuda

import (
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// Device opens device 0, software or real. At cleanup it is closed, and on the
// software driver the test fails for violations, and for objects that were made
// since and are still there. Without a device the test is skipped, or fails if
// KVFERRY_CUDA_REQUIRED is 1.
func Device(tb TB) *cuda.Device {
	tb.Helper()
	if Loaded() {
		watch(tb)
	}
	d, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		missing(tb, err)
		return nil
	}
	tb.Cleanup(func() {
		if Loaded() {
			control("settle")
		}
		if err := d.Close(); err != nil && !errors.Is(err, kvferry.ErrDeviceLost) {
			tb.Errorf("softcuda: closing the device: %v", err)
		}
	})
	return d
}

// Reset forgets faults, violations, counts and the time line, and brings a lost
// device back. At cleanup the test fails for violations, and for objects that
// were made since and are still there; then everything is reset again.
func Reset(tb TB) {
	tb.Helper()
	control("reset")
	watch(tb)
}

// Only skips the test, visibly, unless the software driver is there: for tests
// of faults and schedules.
func Only(tb TB) {
	tb.Helper()
	if !Loaded() {
		tb.Skip("needs the software driver: make test-cuda")
	}
}

// missing ends a test that has no device.
func missing(tb TB, err error) {
	tb.Helper()
	if environment("KVFERRY_CUDA_REQUIRED") == "1" {
		tb.Fatalf("a device is required: %v", err)
	}
	tb.Skip("no device:", err)
}

// watch checks at cleanup what was done from here on.
func watch(tb TB) {
	since := control("mark")
	control("label=%s", tb.Name())
	tb.Cleanup(func() {
		control("settle")
		for _, v := range Violations() {
			tb.Errorf("softcuda: violation: %s", v)
		}
		for _, l := range leaks(since) {
			tb.Errorf("softcuda: leaked: %s", l)
		}
		control("reset")
	})
}
