package cuda

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Error is a failed driver call. It unwraps to the root error that tells what
// it means: ErrNoDevice, ErrOutOfMemory, ErrUnsupported, ErrDeviceLost and so on.
type Error struct {
	Op   string // the driver's function
	Code int    // its CUresult
}

// Error returns operation, name, number, meaning and what to do.
func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: %s (%d): %s", e.Op, e.Name(), e.Code, e.Advice())
}

// Name returns the code's name, for example CUDA_ERROR_OUT_OF_MEMORY.
func (e *Error) Name() string { return codeOf(e.Code).name }

// Advice says in one sentence what the code means and what to do.
func (e *Error) Advice() string { return codeOf(e.Code).advice }

// Sticky tells that the device is lost to this process.
func (e *Error) Sticky() bool { return e.Unwrap() == kvferry.ErrDeviceLost } //nolint:errorlint // the root error itself

// What some codes mean depends on the function.
const (
	startDriver    = "cuInit"            // whatever its failure is, there is no device
	pushContext    = "cuCtxPushCurrent"  // of our own context: an invalid one was reset by somebody
	pinMemory      = "cuMemHostRegister" // of memory that cannot be pinned, a file's perhaps: no unknown state of the device
	invalidContext = 201
	unknownCode    = 999
)

// Unwrap returns the root error.
func (e *Error) Unwrap() error {
	switch {
	case e.Op == startDriver:
		return kvferry.ErrNoDevice
	case e.Op == pushContext && e.Code == invalidContext:
		return kvferry.ErrDeviceLost
	case e.Op == pinMemory && e.Code == unknownCode:
		return kvferry.ErrUnsupported
	}
	return codeOf(e.Code).is
}
