//go:build cuda

package cuda

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// Attributes of a device that gorgonia.org/cu has no name for.
const (
	hostRegisterSupported cu.DeviceAttribute = 99
	hostNUMAID            cu.DeviceAttribute = 134 // since CUDA 12.2
)

// readFacts asks the driver, and the system where the driver does not know.
func readFacts(gpu cu.Device, ordinal int) (Facts, error) {
	f := Facts{Ordinal: ordinal, NUMANode: -1}
	version, code := driver.Version()
	if code != driver.Success {
		return f, failure("cuDriverGetVersion", code)
	}
	f.Driver = Version(version)
	var err error
	if f.Name, err = gpu.Name(); err != nil {
		return f, wrap("cuDeviceGetName", err)
	}
	if f.TotalBytes, err = gpu.TotalMem(); err != nil {
		return f, wrap("cuDeviceTotalMem", err)
	}
	if err := numbers(gpu, &f); err != nil {
		return f, err
	}
	if f.UUID, err = uuidText(gpu); err != nil {
		return f, err
	}
	readBus(os.DirFS("/sys/bus/pci/devices"), &f)
	if f.NUMANode < 0 {
		node, err := gpu.Attribute(hostNUMAID)
		if err := wrap("cuDeviceGetAttribute", err); err != nil && !lacks(codeIn(err)) {
			return f, err
		}
		if err == nil && node >= 0 {
			f.NUMANode = node
		}
	}
	return f, nil
}

// numbers reads the attributes.
func numbers(gpu cu.Device, f *Facts) error {
	var register, domain, bus, slot int
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		into      *int
	}{
		{cu.ComputeCapabilityMajor, &f.Major},
		{cu.ComputeCapabilityMinor, &f.Minor},
		{cu.MultiprocessorCount, &f.Multiprocessors},
		{cu.ClockRate, &f.ClockKHz},
		{cu.AsyncEngineCount, &f.CopyEngines},
		{hostRegisterSupported, &register},
		{cu.PciDomainID, &domain},
		{cu.PciBusID, &bus},
		{cu.PciDeviceID, &slot},
	} {
		n, err := gpu.Attribute(a.attribute)
		if err != nil {
			return wrap("cuDeviceGetAttribute", err)
		}
		*a.into = n
	}
	f.HostRegister = register != 0
	f.PCI = fmt.Sprintf("%04x:%02x:%02x.0", domain, bus, slot)
	return nil
}

// uuidText returns the UUID with the prefix that nvidia-smi gives it. Of an
// instance of a GPU, the second form of the function gives the instance's own.
func uuidText(gpu cu.Device) (string, error) {
	whole, code := driver.UUID(int(gpu))
	if code != driver.Success {
		return "", failure("cuDeviceGetUuid", code)
	}
	own, code := driver.InstanceUUID(int(gpu))
	if code != driver.Success && !lacks(code) {
		return "", failure("cuDeviceGetUuid_v2", code)
	}
	if code == driver.Success && own != whole {
		return "MIG-" + uuidDigits(own), nil
	}
	return "GPU-" + uuidDigits(whole), nil
}

func uuidDigits(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// lacks tells whether a code is the answer of a driver that does not know a
// function or attribute, and not a failure.
func lacks(code int) bool {
	return code == driver.InvalidValue || code == driver.NotFound || code == driver.NotSupported
}

// readBus reads what the system knows of the device's link and place. A
// container may hide it.
func readBus(devices fs.FS, f *Facts) {
	f.LinkGeneration = generation(line(devices, f.PCI+"/current_link_speed"))
	if width, err := strconv.Atoi(line(devices, f.PCI+"/current_link_width")); err == nil && width > 0 {
		f.LinkWidth = width
	}
	if node, err := strconv.Atoi(line(devices, f.PCI+"/numa_node")); err == nil && node >= 0 {
		f.NUMANode = node
	}
}

// generation reads a text like "32.0 GT/s PCIe".
func generation(speed string) int {
	number, _, _ := strings.Cut(speed, " ")
	switch number {
	case "2.5":
		return 1
	case "5", "5.0":
		return 2
	case "8", "8.0":
		return 3
	case "16", "16.0":
		return 4
	case "32", "32.0":
		return 5
	case "64", "64.0":
		return 6
	}
	return 0
}

// line returns a small file without the space around it, "" if it cannot be read.
func line(from fs.FS, name string) string {
	text, err := fs.ReadFile(from, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
