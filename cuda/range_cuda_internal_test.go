//go:build cuda

package cuda

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// piece is memory that a made-up driver knows.
type piece struct {
	Pointer
	start Ptr // of the reserved range
}

// world is a driver that knows pieces. It counts how often it was asked.
func world(asked *int, pieces ...piece) ranges {
	find := func(p Ptr) piece {
		*asked++
		for _, at := range pieces {
			if p >= at.Base && uint64(p-at.Base) < uint64(at.Bytes) {
				return at
			}
		}
		return piece{Pointer: Pointer{Device: -1}}
	}
	return ranges{
		func(p Ptr) (Pointer, error) { return find(p).Pointer, nil },
		func(p Ptr) (Ptr, error) { return find(p).start, nil },
	}
}

func on(device int, base Ptr, bytes int64, start Ptr) piece {
	return piece{Pointer{Kind: DeviceMemory, Device: device, Base: base, Bytes: bytes}, start}
}

// TestCheckWalks: memory of several mappings is taken as far as they follow each
// other in one reserved range, and nothing further.
func TestCheckWalks(t *testing.T) {
	host := on(0, 7000, 1000, 1000)
	host.Kind = HostMemory
	asked := 0
	r := world(&asked,
		on(0, 1000, 1000, 1000), on(0, 2000, 3000, 1000), on(0, 5000, 1000, 1000), // one segment; 6000 is not mapped
		host,
		on(0, 10000, 1000, 10000), on(0, 11000, 1000, 11000), // two allocations, side by side
		on(0, 20000, 1000, 20000), on(1, 21000, 1000, 20000), // two devices in one range
		on(0, math.MaxUint64-999, 1000, math.MaxUint64-999), // up to the last address but one
	)
	for _, good := range []struct {
		p     Ptr
		bytes int64
	}{
		{1000, 1}, {1000, 1000}, {1000, 1001}, {1000, 5000}, {1999, 4001}, {4999, 2}, {5999, 1}, {10000, 1000}, {11000, 1000},
		{math.MaxUint64 - 999, 999},
	} {
		require.NoError(t, r.check(good.p, good.bytes, 0), good)
	}
	for _, bad := range []struct {
		p     Ptr
		bytes int64
		says  string
	}{
		{1000, 5001, "from 0x1770 on, 5000 bytes further, it does not go on: the driver knows no memory there"},
		{999, 2, "check 2 bytes at 0x3e7: the driver knows no memory there"},
		{1500, math.MaxInt64, "4500 bytes further"},
		{7000, 1, "not device memory"},
		{10000, 1001, "from 0x2af8 on, 1000 bytes further, it does not go on: another allocation begins there"},
		{20000, 1001, "1000 bytes further, it does not go on: that is memory of device 1, this is device 0"},
		{21000, 1, "check 1 bytes at 0x5208: that is memory of device 1, this is device 0"},
		{math.MaxUint64 - 999, 1001, "check 1001 bytes"},
	} {
		err := r.check(bad.p, bad.bytes, 0)
		require.ErrorIs(t, err, kvferry.ErrInvalid, bad)
		require.ErrorContains(t, err, bad.says)
	}
	asked = 0
	require.NoError(t, r.check(1000, 1000, 0))
	require.Equal(t, 1, asked, "one piece is one look")
}

// TestCheckOfFoolishDriver: answers that do not hold the address end the walk.
func TestCheckOfFoolishDriver(t *testing.T) {
	for _, answer := range []Pointer{
		{Kind: DeviceMemory, Base: 100, Bytes: 0},
		{Kind: DeviceMemory, Base: 100, Bytes: -1},
		{Kind: DeviceMemory, Base: 0, Bytes: 100},
		{Kind: DeviceMemory, Base: 101, Bytes: 100},
	} {
		r := ranges{piece: func(Ptr) (Pointer, error) { return answer, nil }}
		require.ErrorContains(t, r.check(100, 8, 0), "which are elsewhere")
	}
}

// TestCheckTellsFailures of the driver, of both questions.
func TestCheckTellsFailures(t *testing.T) {
	broken := &Error{"cuPointerGetAttribute", 999}
	r := ranges{piece: func(Ptr) (Pointer, error) { return Pointer{}, broken }}
	require.ErrorIs(t, r.check(100, 8, 0), kvferry.ErrDeviceLost)
	asked := 0
	r = world(&asked, on(0, 100, 100, 100), on(0, 200, 100, 100))
	r.reserved = func(Ptr) (Ptr, error) { return 0, broken }
	require.ErrorIs(t, r.check(100, 150, 0), kvferry.ErrDeviceLost)
	require.NoError(t, r.check(100, 100, 0))
}
