package cuda

import "strconv"

// Link compiles PTX for the device and returns the image, and what the compiler
// had to say. PTX that this driver is too old for is ErrUnsupported, and the
// error says which driver is needed; PTX that is wrong is ErrInvalid, with the
// log in the error.
func (d *Device) Link(ptx []byte, o LinkOptions) (image []byte, log string, err error) {
	return d.link(ptx, o)
}

// LinkOptions guide Link. The zero value works.
type LinkOptions struct {
	MaxRegisters int // per thread; 0 leaves it to the compiler
	LineInfo     bool
}

// Texts returns the options as they are part of a pipeline fingerprint.
func (o LinkOptions) Texts() []string {
	var ts []string
	if o.MaxRegisters > 0 {
		ts = append(ts, "max-registers="+strconv.Itoa(o.MaxRegisters))
	}
	if o.LineInfo {
		ts = append(ts, "line-info")
	}
	return ts
}

// Module is a loaded image.
type Module struct{ module }

// Load loads an image that Link returned. One that was made for another device
// or driver is ErrUnsupported, one that is damaged ErrInvalid.
func (d *Device) Load(image []byte) (*Module, error) { return d.load(image) }

// Function returns a kernel by name, or ErrNotFound.
func (m *Module) Function(name string) (*Function, error) { return m.function(name) }

// Close unloads the module and ends the use of its functions. Nothing in flight
// may use them any more. A second Close does nothing.
func (m *Module) Close() error { return m.close() }

// Function is a kernel of a Module.
type Function struct{ function }

// FunctionFacts are what the driver tells of a loaded kernel.
type FunctionFacts struct {
	Registers   int // per thread
	LocalBytes  int // per thread; more than 0 are spilled registers
	SharedBytes int // per block, without the dynamic ones
	MaxThreads  int // per block
}

// Facts returns what is known of the kernel.
func (f *Function) Facts() (FunctionFacts, error) { return f.facts() }
