package table

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
)

func TestZY(t *testing.T) {
	runtime.LockOSThread()
	const blobs = 10_000_000
	tab, _ := New()
	defer tab.Close()
	for i := range uint64(blobs) {
		_, _, _ = tab.Put(numbered(i), MakePlace(uint32(i%1000), int64(i%1024)*64, 64))
	}
	step := func(name string, f func(k *key, s *shard) uint64) {
		r := rand.New(rand.NewPCG(1, 2))
		const n = 3000000
		x := uint64(0)
		c := cpuNow(1)
		for range n {
			k := tab.seed.key(numbered(r.Uint64N(blobs)))
			s := &tab.shards[k.shard()]
			x += f(&k, s)
		}
		fmt.Printf("  %s cpu %.0f ns %d\n", name, float64(cpuNow(1)-c)/n, x&1)
	}
	b, _ := os.ReadFile("/proc/self/smaps_rollup")
	fmt.Println(string(b))
	for range 2 {
		step("floor: 1 dependent slab line", func(k *key, s *shard) uint64 {
			all := tab.pool.slabs()
			return all[(k.tag()<<12>>32)*uint64(len(all))>>32][k.tag()&1023][k.tag()>>30&31][0]
		})
		step("floor: 2 dependent slab lines", func(k *key, s *shard) uint64 {
			all := tab.pool.slabs()
			x := all[(k.tag()<<12>>32)*uint64(len(all))>>32][k.tag()&1023][k.tag()>>30&31][1]
			x = k.x ^ x*spread
			return all[(x<<12>>32)*uint64(len(all))>>32][x>>9&1023][x>>30&31][0]
		})
		step("key", func(k *key, s *shard) uint64 { return 0 })
		step("lock", func(k *key, s *shard) uint64 { s.mu.RLock(); s.mu.RUnlock(); return 0 })
		step("lock+dir", func(k *key, s *shard) uint64 {
			s.mu.RLock()
			v := tab.view(s)
			x := uint64(v.dir[home(k.tag(), v.slots())/32])
			s.mu.RUnlock()
			return x
		})
		step("lock+chunk", func(k *key, s *shard) uint64 {
			s.mu.RLock()
			v := tab.view(s)
			x := v.at(home(k.tag(), v.slots()))[0]
			s.mu.RUnlock()
			return x
		})
		step("nolock chunk", func(k *key, s *shard) uint64 {
			v := tab.view(s)
			x := v.at(home(k.tag(), v.slots()))[0]
			return x
		})
		step("nolock seek", func(k *key, s *shard) uint64 {
			v := tab.view(s)
			x, _, _ := v.seek(k)
			return x
		})
		step("all", func(k *key, s *shard) uint64 {
			s.mu.RLock()
			v := tab.view(s)
			x, _, _ := v.seek(k)
			s.mu.RUnlock()
			return x
		})
	}
	probes, n := 0, 0
	for i := range tab.shards {
		v := tab.view(&tab.shards[i])
		for j := uint64(0); j < v.slots(); j++ {
			if e := v.at(j); !e.empty() {
				h := home(e.tag(), v.slots())
				probes += int((j + v.slots() - h) % v.slots())
				n++
			}
		}
	}
	fmt.Println("mean displacement", float64(probes)/float64(n))
}
