//go:build cuda

package cuda

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

func driverStatus() error {
	path, reasons := driver.Library()
	if path == "" {
		return noLibrary(reasons)
	}
	if code := driver.InitCode(); code != driver.Success {
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
	return fmt.Errorf("cuda: the driver %s does not start: %w: %w", path, kvferry.ErrNoDevice, failure("cuInit", code))
}

func driverVersion() (Version, error) {
	if path, reasons := driver.Library(); path == "" {
		return 0, noLibrary(reasons)
	}
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
