package layered_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// A kernel is compiled once. Later gets have it from memory, and a later process
// from the disk: what is compiled goes to both.
func Example() {
	dir, err := os.MkdirTemp("", "pipelines")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kernel := pipelinecache.Kernel{PTX: []byte(".version 8.0"), Major: 9, DriverVersion: 13000}
	for range 2 { // processes
		if err := process(context.Background(), dir, kernel); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// compile
	// loaded 5 bytes, 0 from the disk
	// loaded 5 bytes, 1 from the disk
}

func process(ctx context.Context, dir string, kernel pipelinecache.Kernel) error {
	onDisk, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	inMemory, err := memory.New(memory.Options{})
	if err != nil {
		return errors.Join(err, onDisk.Close())
	}
	cache, f := layered.New(inMemory, onDisk), kernel.Fingerprint()
	cubin, err := cache.GetShared(ctx, f)
	if err != nil { // every error is a miss
		if !errors.Is(err, kvferry.ErrNotFound) {
			log.Print(err)
		}
		fmt.Println("compile")
		cubin = []byte("cubin")
		if err := errors.Join(cache.PutShared(ctx, f, cubin), onDisk.PutShared(ctx, f, cubin)); err != nil {
			log.Print(err) // the next process compiles again
		}
	}
	fmt.Printf("loaded %d bytes, %d from the disk\n", len(cubin), cache.Report().Hits[1])
	return errors.Join(cache.Flush(ctx), onDisk.Close())
}
