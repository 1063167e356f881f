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
func (e *Error) Sticky() bool { return codeOf(e.Code).is == kvferry.ErrDeviceLost }

// Unwrap returns the root error.
func (e *Error) Unwrap() error { return codeOf(e.Code).is }

// code is what is known of a CUresult.
type code struct {
	name, advice string
	is           error
}

func codeOf(n int) code {
	if c, ok := codes[n]; ok {
		return c
	}
	return code{fmt.Sprintf("CUDA_ERROR_%d", n), "an error that this version does not know: see NVIDIA's list of CUresult", kvferry.ErrUnsupported}
}

var codes = map[int]code{
	1:   {"CUDA_ERROR_INVALID_VALUE", "an argument is out of range", kvferry.ErrInvalid},
	2:   {"CUDA_ERROR_OUT_OF_MEMORY", "device or pinned memory is used up: free some, or use less", kvferry.ErrOutOfMemory},
	100: {"CUDA_ERROR_NO_DEVICE", "no GPU is visible: check nvidia-smi, CUDA_VISIBLE_DEVICES and the container's --gpus", kvferry.ErrNoDevice},
	700: {"CUDA_ERROR_ILLEGAL_ADDRESS", "a kernel touched memory that it must not: the process has to be started again", kvferry.ErrDeviceLost},
}
