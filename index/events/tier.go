package events

import (
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/msg"
)

// tierOf returns the tier that an engine means; 0 if the medium is not known.
// What is remote is shared storage unless it is GPU memory. A store without a
// medium is of the GPU: so are all of engines that know only one.
func tierOf(m msg.Medium, l msg.Locality) index.Tier {
	remote := l == msg.Remote
	switch {
	case m == msg.OtherMedium:
		return 0
	case m == msg.GPU || m == msg.NoMedium:
		if remote {
			return index.RemoteHBM
		}
		return index.HBM
	case m == msg.External || remote:
		return index.ObjectStore
	case m == msg.CPU:
		return index.CPUDRAM
	}
	return index.LocalSSD
}

// tierNamed returns the tier of a medium in a JSON batch: an engine's word or one
// of those that index.ParseTier knows.
func tierNamed(name string) index.Tier {
	switch name {
	case "CPU_PINNED":
		return index.CPUDRAM
	case "STORAGE":
		return index.LocalSSD
	case "EXTERNAL":
		return index.ObjectStore
	}
	t, err := index.ParseTier(name)
	if err != nil {
		return 0
	}
	return t
}
