package index

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Tier is a kind of memory. The zero Tier is none; removals use it for every
// tier. The numbers are in the order of the names and do not change: they are
// stored.
type Tier uint8

// The tiers, by their names in ascending order.
const (
	CPUDRAM     Tier = 1 // cpu_dram: host memory of the worker
	HBM         Tier = 2 // hbm: the worker's own GPU memory
	LocalSSD    Tier = 3 // local_ssd: a disk of the worker's machine
	ObjectStore Tier = 4 // object_store: shared storage
	RemoteHBM   Tier = 5 // remote_hbm: another worker's GPU memory
)

// Tiers is one more than the greatest tier: the length of an array by tier.
const Tiers = 6

var (
	tierNames    = [Tiers]string{"", "cpu_dram", "hbm", "local_ssd", "object_store", "remote_hbm"}
	tierVariants = [Tiers]string{"", "CpuDram", "Hbm", "LocalSsd", "ObjectStore", "RemoteHbm"}
)

// tierSpellings are what ParseTier accepts, in lower case.
var tierSpellings = map[string]Tier{
	"hbm": HBM, "gpu": HBM, "gpu_memory": HBM, "vram": HBM,
	"remote_hbm": RemoteHBM, "remote_gpu": RemoteHBM, "remote_gpu_memory": RemoteHBM,
	"cpu": CPUDRAM, "dram": CPUDRAM, "cpu_dram": CPUDRAM, "host": CPUDRAM, "host_memory": CPUDRAM,
	"ssd": LocalSSD, "local_ssd": LocalSSD, "nvme": LocalSSD, "disk": LocalSSD,
	"object": ObjectStore, "object_store": ObjectStore, "s3": ObjectStore, "blob": ObjectStore,
}

// String returns the name, "hbm"; of what is no tier, "tier(9)".
func (t Tier) String() string {
	if t.Valid() {
		return tierNames[t]
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}

// Variant returns the name that JSON documents have: "Hbm".
func (t Tier) Variant() string {
	if t.Valid() {
		return tierVariants[t]
	}
	return ""
}

// Valid reports whether t is one of the tiers.
func (t Tier) Valid() bool { return t > 0 && t < Tiers }

// Volatile reports whether what lies in t ends with its worker's process.
func (t Tier) Volatile() bool { return t == HBM || t == RemoteHBM || t == CPUDRAM }

// ParseTier reads a tier's name or an engine's name for a medium: gpu, cpu,
// disk, s3 and more. ASCII letters fold, others do not, and nothing is trimmed.
// What it does not know is ErrInvalid.
func ParseTier(name string) (Tier, error) {
	var lower [24]byte
	if len(name) <= len(lower) {
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower[i] = c
		}
		if t, ok := tierSpellings[string(lower[:len(name)])]; ok {
			return t, nil
		}
	}
	return 0, fmt.Errorf("index: unknown cache tier or medium: %s: %w", name, kvferry.ErrInvalid)
}

// ParseVariant reads the name of a tier in JSON documents, exactly.
func ParseVariant(name string) (Tier, error) {
	for t := Tier(1); t < Tiers; t++ {
		if tierVariants[t] == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("index: unknown tier %q in a document: %w", name, kvferry.ErrInvalid)
}
