//go:build cuda

package softcuda

import "slices"

// The modes, in the driver's order.
var modes = []string{"eager", "delayed", "lazy"}

// Set sets the mode for this test: eager, delayed or lazy.
func Set(tb TB, mode string) {
	tb.Helper()
	if !slices.Contains(modes, mode) {
		tb.Fatalf("softcuda: mode %q is none of %v", mode, modes)
	}
	before := modes[control("mode")]
	control("mode=%s", mode)
	tb.Cleanup(func() { control("mode=%s", before) })
}

// Fail makes the nth call from now on of a driver function (its name without
// suffix, such as cuMemAlloc) answer code; 0 is every call. "op.copy",
// "op.fill", "op.kernel" and "op.host" fail inside the stream, and the device is
// lost.
func Fail(op string, nth, code int) { control("fail=%s:%d:%d", op, nth, code) }

// FailCall makes the kth driver call from now on, the next being 1, answer code.
// A sticky code such as 700 loses the device.
func FailCall(k, code int) { control("failcall=%d:%d", k, code) }

// Calls returns how often a driver function was called since the last reset.
func Calls(op string) int { return int(control("calls=%s", op)) }

// TotalCalls returns the driver calls since the last reset that FailCall counts:
// those that can fail.
func TotalCalls() int { return int(control("totalcalls")) }

// Hold lets no further queued work begin until Release, or the test's end.
func Hold() { control("hold=1") }

// Release ends Hold.
func Release() { control("hold=0") }

// SetDriver sets the CUDA version that the driver claims: 12080 is 12.8. All
// settings go back to their defaults at the next reset.
func SetDriver(version int) { control("driver=%d", version) }

// SetCapability sets the devices' compute capability: 90 is 9.0.
func SetCapability(c int) { control("capability=%d", c) }

// SetDevices sets the number of devices, 0 to 8.
func SetDevices(n int) { control("devices=%d", n) }

// SetMemory sets each device's memory.
func SetMemory(bytes int64) { control("memory=%d", bytes) }

// SetPinnedLimit bounds the host memory that can be pinned; 0 means no bound.
func SetPinnedLimit(bytes int64) { control("pinned=%d", bytes) }

// SetLink sets the rate of the link, one way, for the time line.
func SetLink(bytesPerSecond int64) { control("link=%d", bytesPerSecond) }

// SetUnrecorded makes a wait for an event that was never recorded a violation.
// It is legal, and does not wait.
func SetUnrecorded(violation bool) { control("unrecorded=%d", number(violation)) }

// SetMIG makes the devices MIG instances, by their UUID and name.
func SetMIG(on bool) { control("mig=%d", number(on)) }

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
