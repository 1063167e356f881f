package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func cpuNow(who int) time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(who, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestZZ(t *testing.T) {
	runtime.LockOSThread()
	for _, blobs := range []uint64{1_000_000, 10_000_000} {
		tab, _ := New()
		c := cpuNow(1)
		for i := range blobs {
			_, _, _ = tab.Put(numbered(i), MakePlace(uint32(i%1000), int64(i%1024)*64, 64))
		}
		fmt.Printf("blobs %d: put %.0f ns, %.2f B/blob\n", blobs, float64(cpuNow(1)-c)/float64(blobs), float64(tab.MemoryBytes())/float64(blobs))
		for _, from := range []uint64{0, 1 << 40, 0, 1 << 40} {
			r := rand.New(rand.NewPCG(1, 2))
			const n = 3000000
			found := 0
			c := cpuNow(1)
			w := time.Now()
			for range n {
				if _, ok := tab.Get(numbered(from + r.Uint64N(blobs))); ok {
					found++
				}
			}
			fmt.Printf("  from %d: get cpu %.0f ns wall %.0f found %d\n", from, float64(cpuNow(1)-c)/n, float64(time.Since(w))/n, found)
		}
		{
			r := rand.New(rand.NewPCG(1, 2))
			const n = 3000000
			x := 0
			c := cpuNow(1)
			for range n {
				d := numbered(r.Uint64N(blobs))
				x += int(d.Algorithm())
			}
			fmt.Printf("  overhead %.0f\n", float64(cpuNow(1)-c)/n)
			_ = x
		}
		var buf bytes.Buffer
		buf.Grow(int(blobs) * 41)
		c, w := cpuNow(0), time.Now()
		_, _ = tab.Save(&buf, same)
		fmt.Printf("  save cpu %v wall %v\n", cpuNow(0)-c, time.Since(w))
		c, w = cpuNow(0), time.Now()
		n := 0
		tab.walk(func(uint64, *entry) bool { n++; return true })
		fmt.Printf("  walk cpu %v wall %v\n", cpuNow(0)-c, time.Since(w))
		tab.Close()
		for _, th := range []int{1, 2} {
			c, w := cpuNow(0), time.Now()
			tab, _, _ := Load(bytes.NewReader(buf.Bytes()), 0, int64(buf.Len()), make([]uint32, 1000), th)
			fmt.Printf("  load %d threads cpu %v wall %v, %.2f B/blob\n", th, cpuNow(0)-c, time.Since(w), float64(tab.MemoryBytes())/float64(blobs))
			tab.Close()
		}
	}
}
func same(slot uint32) (uint32, bool) { return slot, true }
