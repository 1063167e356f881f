package cuda

// DefaultChunkBytes is the most that is registered by one call.
const DefaultChunkBytes = 64 << 30

// PinOptions guide the pinning of host memory. The zero value pins for this
// device's context and on its NUMA node.
type PinOptions struct {
	Portable bool // pinned for the contexts of all devices
	Mapped   bool // kernels may follow its addresses; DevicePtr is then valid
	// ChunkBytes bounds one registration, a multiple of the page size; 0 means
	// DefaultChunkBytes. No copy may straddle two registrations.
	ChunkBytes int64
	// Workers that touch pages before they are pinned; 0 means one per processor.
	Workers int
	// AnyNode leaves the memory on whatever node it comes from. Else it comes
	// from the device's, if that is known, has room, and the process may choose.
	AnyNode bool
}

// Pinned is pinned host memory.
type Pinned struct{ pinned }

// Pin takes host memory outside the Go heap, zeroed, on the device's NUMA node,
// touches it in parallel and registers it. The memory lies in as few
// registrations as ChunkBytes allows. Too little memory, too low a limit of
// locked memory or a cgroup's are ErrOutOfMemory, and the error says which.
func (d *Device) Pin(bytes int64, o PinOptions) (*Pinned, error) { return d.pin(bytes, o) }

// Register pins memory that the caller owns and keeps in place until Close: a
// mapping, never memory of the Go heap. Memory that is registered already is
// ErrExists.
func (d *Device) Register(mem []byte, o PinOptions) (*Pinned, error) { return d.register(mem, o) }

// Bytes returns the memory. It must not be used after Close.
func (p *Pinned) Bytes() []byte { return p.view() }

// DevicePtr returns the address by which kernels find the memory; 0 if it is
// not mapped.
func (p *Pinned) DevicePtr() Ptr { return p.devicePtr() }

// Close unpins the memory, and frees what Pin took. Nothing in flight may use
// it any more. What a lost device does not unpin is not freed either: it may
// still write there. A second Close does nothing.
func (p *Pinned) Close() error { return p.close() }

// IsPinned reports whether the whole of mem lies in one registration that was
// made through this Device.
func (d *Device) IsPinned(mem []byte) bool { return d.isPinned(mem) }

// Allocator hands out pinned memory; it implements staging.Allocator. It is
// safe for concurrent use.
type Allocator struct {
	device  *Device
	options PinOptions
}

// Allocator returns an allocator whose every allocation is one registration.
func (d *Device) Allocator(o PinOptions) *Allocator { return &Allocator{d, o} }

// Allocate returns zeroed pinned memory, or an error that wraps ErrOutOfMemory.
func (a *Allocator) Allocate(bytes int) ([]byte, error) {
	return a.device.allocatePinned(bytes, a.options)
}

// Free gives back what Allocate returned, whole; anything else is ErrInvalid.
func (a *Allocator) Free(mem []byte) error { return a.device.freePinned(mem) }
