//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// Codes of a driver that does not start which say all by themselves.
const (
	codeStubLibrary        = 34
	codeSystemNotReady     = 802
	codeDriverMismatch     = 803
	codeCompatNotSupported = 804
)

func driverStatus() error {
	path, reasons := driver.Library()
	if path == "" {
		return noLibrary(reasons)
	}
	if code := driver.Start(); code != driver.Success {
		return noStart(path, code)
	}
	n, code := driver.Count()
	if code != driver.Success {
		return noStart(path, code)
	}
	if n == 0 {
		return noStart(path, driver.NoDevice)
	}
	return nil
}

func noLibrary(reasons string) error {
	return fmt.Errorf("cuda: no NVIDIA driver: libcuda.so.1 could not be opened (%s): "+
		"install the driver, or name its folder in LD_LIBRARY_PATH; "+
		"a container needs the NVIDIA Container Toolkit, --gpus all (or NVIDIA_VISIBLE_DEVICES) "+
		"and NVIDIA_DRIVER_CAPABILITIES with compute: %w", reasons, kvferry.ErrNoDevice)
}

func noStart(path string, code int) error {
	err := &Error{startDriver, code}
	if why := diagnose(os.DirFS("/"), mayUse, code); why != "" {
		return fmt.Errorf("cuda: the driver %s does not start: %s: %w", path, why, err)
	}
	return fmt.Errorf("cuda: the driver %s does not start: %w", path, err)
}

// diagnose looks at what the driver needs of the system. "" where its code says
// more than the system does.
func diagnose(root fs.FS, mayUse func(name string) error, code int) string {
	switch code {
	case codeSystemNotReady, codeDriverMismatch, codeCompatNotSupported, codeStubLibrary:
		return ""
	}
	const control = "dev/nvidiactl"
	_, err := fs.Stat(root, control)
	switch {
	case errors.Is(err, fs.ErrNotExist) && line(root, "proc/driver/nvidia/version") == "" && !exists(root, "dev/dxg"):
		return "the kernel module is not loaded, or there is no NVIDIA GPU: see nvidia-smi and lsmod"
	case errors.Is(err, fs.ErrNotExist) && !exists(root, "dev/dxg"):
		return "/dev/nvidiactl is missing: start the container with --gpus all, or run nvidia-modprobe"
	case err == nil:
		if err := mayUse("/" + control); err != nil {
			return fmt.Sprintf("this process may not use /dev/nvidiactl (%v): check its user and groups, and the container's devices", err)
		}
	}
	return ""
}

// mayUse tells whether the process has the rights that the driver needs.
func mayUse(name string) error { return unix.Access(name, unix.R_OK|unix.W_OK) }

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

func driverVersion() (Version, error) {
	if path, reasons := driver.Library(); path == "" {
		return 0, noLibrary(reasons)
	}
	driver.Start() // a driver that does not start tells its version nevertheless
	v, code := driver.Version()
	return Version(v), failure("cuDriverGetVersion", code)
}

func deviceCount() (int, error) {
	if err := driverStatus(); err != nil {
		return 0, err
	}
	n, code := driver.Count()
	return n, failure("cuDeviceGetCount", code)
}
