package doctor

import (
	"fmt"

	"github.com/kvferry/kvferry/cuda"
)

// GPUs is what the driver of the GPUs tells.
type GPUs struct {
	// Problem says why there is no GPU to be used; empty if there is one.
	Problem string `json:"problem,omitempty"`
	// Driver is the newest CUDA version that the driver serves; empty if there
	// is no driver.
	Driver  string `json:"driver,omitempty"`
	Devices []GPU  `json:"devices"`
}

// GPU is one device. Numbers that nobody tells are 0, the NUMA node is then -1.
type GPU struct {
	Ordinal         int    `json:"ordinal"`
	Problem         string `json:"problem,omitempty"` // why it cannot be opened
	Name            string `json:"name,omitempty"`
	UUID            string `json:"uuid,omitempty"`
	PCI             string `json:"pci,omitempty"`
	Capability      string `json:"compute_capability,omitempty"`
	FreeBytes       int64  `json:"free_bytes"`
	TotalBytes      int64  `json:"total_bytes"`
	Multiprocessors int    `json:"multiprocessors"`
	CopyEngines     int    `json:"copy_engines"`
	NUMANode        int    `json:"numa_node"`
	LinkGeneration  int    `json:"link_generation"` // of PCI Express, as the link is now
	LinkWidth       int    `json:"link_width"`
	LinkBytesPerSec int64  `json:"link_bytes_per_second"` // each way, before protocol overhead
	BatchCopy       bool   `json:"batch_copy"`            // many copies by one call of the driver
	HostRegister    bool   `json:"host_register"`         // memory of the process can be pinned
}

// examineGPUs asks the driver and opens each device for a moment.
func examineGPUs() GPUs {
	g := GPUs{Devices: []GPU{}}
	if v, err := cuda.DriverVersion(); err == nil {
		g.Driver = v.String()
	}
	if err := cuda.Status(); err != nil {
		g.Problem = err.Error()
		return g
	}
	n, err := cuda.Count()
	if err != nil {
		g.Problem = err.Error()
		return g
	}
	for i := range n {
		g.Devices = append(g.Devices, examineGPU(i))
	}
	return g
}

func examineGPU(ordinal int) GPU {
	d, err := cuda.Open(ordinal, cuda.Options{})
	if err != nil {
		return GPU{Ordinal: ordinal, NUMANode: -1, Problem: err.Error()}
	}
	g := gpuOf(d.Facts())
	if g.FreeBytes, _, err = d.MemoryInfo(); err != nil {
		g.Problem = err.Error()
	}
	if err := d.Close(); err != nil && g.Problem == "" {
		g.Problem = err.Error()
	}
	return g
}

func gpuOf(f cuda.Facts) GPU {
	return GPU{
		Ordinal: f.Ordinal, Name: f.Name, UUID: f.UUID, PCI: f.PCI, Capability: fmt.Sprintf("%d.%d", f.Major, f.Minor),
		TotalBytes: f.TotalBytes, Multiprocessors: f.Multiprocessors, CopyEngines: f.CopyEngines, NUMANode: f.NUMANode,
		LinkGeneration: f.LinkGeneration, LinkWidth: f.LinkWidth, LinkBytesPerSec: int64(f.LinkBytesPerSecond()),
		BatchCopy: f.BatchCopy, HostRegister: f.HostRegister,
	}
}

// usable reports whether some device can be used.
func (g GPUs) usable() bool {
	for _, d := range g.Devices {
		if d.Problem == "" {
			return true
		}
	}
	return false
}

// summary is the short answer for people.
func (g GPUs) summary() string {
	switch {
	case g.Problem != "":
		return g.Problem
	case !g.usable():
		return "no device can be opened"
	case len(g.Devices) == 1:
		return fmt.Sprintf("%s, driver for CUDA %s", g.Devices[0].Name, g.Driver)
	}
	return fmt.Sprintf("%d devices, driver for CUDA %s", len(g.Devices), g.Driver)
}
