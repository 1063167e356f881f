package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/kvferry/kvferry/index"
)

// Limits are what the machine gives by itself, in the same run.
type Limits struct {
	// Clock is reading the clock twice, which every latency has in it.
	Clock Latency `json:"clock"`
	// CopyRecord is copying one record's struct in memory, from a list of 10^5 to
	// another place.
	CopyRecord float64 `json:"copy_record_ns"`
	// Write is appending 100 bytes to a file in a write call.
	Write Latency `json:"write_100_bytes"`
	// Sync is appending 4 KiB and fdatasync; Sync1M the same of 1 MiB.
	Sync   Latency `json:"fdatasync_4_kib"`
	Sync1M Latency `json:"fdatasync_1_mib"`
	// RoundTrip is 100 bytes to a server on the loopback and back.
	RoundTrip Latency `json:"loopback_round_trip"`
}

func numCPU() int { return runtime.NumCPU() }

// measureLimits measures in a folder.
func measureLimits(ctx context.Context, dir string) (l Limits, err error) {
	if l.Clock, err = timed(ctx, calls, time.Second, func(int) (int, error) { return 0, nil }); err != nil {
		return l, err
	}
	l.CopyRecord = copyRecord()
	path := filepath.Join(dir, "limits")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return l, fmt.Errorf("bench index: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	buf := make([]byte, 1<<20)
	for i := range buf {
		buf[i] = byte(mix(uint64(i)))
	}
	write := func(n, times int, sync bool) (Latency, error) {
		return timed(ctx, times, time.Second, func(int) (int, error) {
			_, err := f.Write(buf[:n])
			if err == nil && sync {
				err = syncData(f)
			}
			return 0, err
		})
	}
	if l.Write, err = write(100, calls, false); err != nil {
		return l, err
	}
	if l.Sync, err = write(4<<10, 500, true); err != nil {
		return l, err
	}
	if l.Sync1M, err = write(1<<20, 100, true); err != nil {
		return l, err
	}
	l.RoundTrip, err = roundTrip(ctx)
	return l, err
}

// copyRecord returns nanoseconds of one copy.
func copyRecord() float64 {
	from, to := make([]index.Record, 100_000), make([]index.Record, 100_000)
	for i := range from {
		from[i].Index = uint32(i)
	}
	copy(to, from)
	start := time.Now()
	for i := range from {
		to[len(to)-1-i] = from[i]
	}
	return float64(time.Since(start).Nanoseconds()) / float64(len(from))
}

// roundTrip sends to a goroutine that sends back.
func roundTrip(ctx context.Context) (l Latency, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return l, fmt.Errorf("bench index: %w", err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			err = errors.Join(err, c.Close())
		}
		served <- err
	}()
	defer func() { err = errors.Join(err, listener.Close(), <-served) }()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return l, fmt.Errorf("bench index: %w", err)
	}
	buf := make([]byte, 100)
	l, err = timed(ctx, 20_000, time.Second, func(int) (int, error) {
		if _, err := c.Write(buf); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(c, buf)
		return 0, err
	})
	return l, errors.Join(err, c.Close())
}
