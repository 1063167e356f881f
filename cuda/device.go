package cuda

import "fmt"

// Options guide Open. The zero value works.
type Options struct{}

// Version is a CUDA version as the driver tells it: 12080 is 12.8.
type Version int

// String returns "12.8" for 12080.
func (v Version) String() string { return fmt.Sprintf("%d.%d", int(v)/1000, int(v)%1000/10) }

// Facts are what a device tells about itself. Numbers that the driver or the
// system does not tell are 0, NUMANode is then -1.
type Facts struct {
	Ordinal         int
	Name            string
	UUID            string // as nvidia-smi prints it: "GPU-..." or "MIG-..."
	PCI             string // bus address: "0000:3b:00.0"
	Major, Minor    int    // compute capability
	Driver          Version
	TotalBytes      int64
	Multiprocessors int
	ClockKHz        int
	CopyEngines     int
	NUMANode        int
	LinkGeneration  int // PCI Express generation of the link as it is now
	LinkWidth       int // lanes of the link as it is now
	// BatchCopy tells that the driver has cuMemcpyBatchAsync.
	BatchCopy bool
	// HostRegister tells that memory of the process can be registered.
	HostRegister bool
}

// LinkBytesPerSecond returns what the link carries in one direction before
// protocol overhead: 16 lanes of generation 5 are 63e9. 0 if it is not known.
func (f Facts) LinkBytesPerSecond() float64 {
	perLane := [...]float64{0, 2.5e9 * 8 / 10, 5e9 * 8 / 10, 8e9 * 128 / 130, 16e9 * 128 / 130, 32e9 * 128 / 130, 64e9 * 242 / 256}
	if f.LinkGeneration < 1 || f.LinkGeneration >= len(perLane) {
		return 0
	}
	return perLane[f.LinkGeneration] / 8 * float64(f.LinkWidth)
}

// Device is one GPU, or one MIG instance, whose primary context this process
// shares with the engine. It is safe for concurrent use.
type Device struct{ device }

// Status returns nil if there is a driver that works, else an error that wraps
// ErrNoDevice and says what is missing and what to do.
func Status() error { return driverStatus() }

// DriverVersion returns the newest CUDA version that the driver serves.
func DriverVersion() (Version, error) { return driverVersion() }

// Count returns the number of devices that the driver shows to this process.
func Count() (int, error) { return deviceCount() }

// Open retains the primary context of the device with the given ordinal.
// ErrNoDevice if there is none, or if this process may not use it.
func Open(ordinal int, o Options) (*Device, error) { return open(ordinal, o) }

// Close releases the primary context. Everything that was made on the device
// has to be closed before, foreign streams and events too: else the error, which
// wraps ErrInvalid, says what is left, and the device stays open, so a stray copy
// still finds its memory. A lost device is released with whatever is left. While
// a Synchronize waits for its work, Close is ErrInvalid, too: it never waits for
// work that may hang. A second Close does nothing.
func (d *Device) Close() error { return d.close() }

// Facts returns what is known of the device.
func (d *Device) Facts() Facts { return d.facts() }

// Err returns nil, or why the device is lost or closed.
func (d *Device) Err() error { return d.err() }

// MemoryInfo returns the free and total bytes of the device.
func (d *Device) MemoryInfo() (free, total int64, err error) { return d.memoryInfo() }

// Synchronize waits for everything that was queued in the context, the engine's
// work included. For tests and for closing down.
func (d *Device) Synchronize() error { return d.synchronize() }
