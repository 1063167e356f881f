package cuda

// Ptr is a device address. It can be computed with, but never followed by the
// host.
type Ptr uint64

// Memory is device memory of this process, or of another one that shares it.
type Memory struct{ memory }

// Alloc takes device memory of at least one byte. Its content is unspecified.
// ErrOutOfMemory if there is too little.
func (d *Device) Alloc(bytes int64) (*Memory, error) { return d.alloc(bytes) }

// Ptr returns the memory's first address, a multiple of 256 for memory of Alloc.
func (m *Memory) Ptr() Ptr { return m.ptr() }

// Bytes returns the length.
func (m *Memory) Bytes() int64 { return m.bytes() }

// Free gives the memory back, or closes what OpenIPC opened. Nothing in flight
// may use it any more. A second Free does nothing.
func (m *Memory) Free() error { return m.free() }

// Kind says what an address belongs to.
type Kind uint8

// The kinds of memory.
const (
	Unknown      Kind = 0 // nothing that the driver knows: ordinary host memory, or none
	HostMemory   Kind = 1 // pinned
	DeviceMemory Kind = 2
	Managed      Kind = 3 // moves between host and device by itself
)

// Pointer is what the driver knows of an address.
type Pointer struct {
	Kind   Kind
	Device int   // ordinal
	Base   Ptr   // first address of the allocation
	Bytes  int64 // length of the allocation
}

// Pointer looks an address up. One that the driver does not know has Kind
// Unknown and is no error.
func (d *Device) Pointer(p Ptr) (Pointer, error) { return d.pointer(p) }

// CheckRange returns nil if bytes bytes from p lie within one allocation on this
// device, or within mappings that follow each other in one reserved range of
// addresses, such as PyTorch's expandable segments. Else its error wraps
// ErrInvalid and says what is there, and where the memory ends.
func (d *Device) CheckRange(p Ptr, bytes int64) error { return d.checkRange(p, bytes) }

// IPCHandle names device memory of one process to others on the machine.
type IPCHandle struct {
	Handle [64]byte // of the whole allocation
	Offset int64    // of the named address in it
	Bytes  int64    // from there to the end of the allocation
}

// IPC returns the handle of an address in memory of Alloc, or of the engine's
// own cuMemAlloc. ErrUnsupported for memory that cannot be shared.
func (d *Device) IPC(p Ptr) (IPCHandle, error) { return d.ipc(p) }

// OpenIPC maps memory of another process; Ptr is the address that was named.
// The other process has to keep it until it is freed here.
func (d *Device) OpenIPC(h IPCHandle) (*Memory, error) { return d.openIPC(h) }
