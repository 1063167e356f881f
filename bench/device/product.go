package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// load is work that the device does beside copies.
type load interface {
	// name says what it is.
	name() string
	// rate runs it for about d and returns how much it did in a second.
	rate(d time.Duration) (float64, error)
	// unit is the rate's.
	unit() unit
}

// product is a matrix product in this process, as a model in an engine's process
// is: kernels of several processes never run at the same time.
type product struct {
	bench   *bench
	kernel  *cuda.Function
	stream  *cuda.Stream
	a, b, c *cuda.Memory
	side    int
	params  cuda.Params
}

var _ load = (*product)(nil)

// tile is what matmul.cu makes per block, threads how many do it.
const (
	tile    = 128
	threads = 256
)

// product compiles matmul.cu. ErrUnsupported without nvcc.
func (b *bench) product(side int) (*product, error) {
	image, err := b.compile()
	if err != nil {
		return nil, err
	}
	m, err := b.device.Load(image)
	if err != nil {
		return nil, err
	}
	b.later(m.Close)
	p := &product{bench: b, side: side}
	if p.kernel, err = m.Function("matmul"); err != nil {
		return nil, err
	}
	if p.stream, err = b.stream(); err != nil {
		return nil, err
	}
	elements := int64(side) * int64(side)
	for _, x := range []struct {
		to    **cuda.Memory
		bytes int64
	}{{&p.a, 2 * elements}, {&p.b, 2 * elements}, {&p.c, 4 * elements}} {
		if *x.to, err = b.alloc(x.bytes); err != nil {
			return nil, err
		}
		if err := b.paint(*x.to); err != nil {
			return nil, err
		}
	}
	p.params.Ptr(p.a.Ptr())
	p.params.Ptr(p.b.Ptr())
	p.params.Ptr(p.c.Ptr())
	p.params.Int32(int32(side))
	return p, nil
}

// compile makes the kernel's image for the device.
func (b *bench) compile() ([]byte, error) {
	nvcc := "nvcc"
	if _, err := exec.LookPath(nvcc); err != nil {
		nvcc = "/usr/local/cuda/bin/nvcc"
	}
	f := b.device.Facts()
	out := filepath.Join(b.options.work, "matmul.cubin")
	cmd := exec.CommandContext(b.ctx, nvcc, "-O3", "-cubin", fmt.Sprintf("-arch=sm_%d%d", f.Major, f.Minor),
		"-o", out, filepath.Join(b.options.tools, "matmul.cu"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compile matmul.cu: %w: %w %.500s", kvferry.ErrUnsupported, err, log.String())
	}
	return os.ReadFile(filepath.Clean(out))
}

func (p *product) name() string { return "matrix product in this process, kernel of matmul.cu" }
func (p *product) unit() unit   { return flops }

// rate queues two bursts ahead, so that the device always has something to do.
func (p *product) rate(d time.Duration) (float64, error) {
	const burst, ahead = 4, 2
	var q cuda.Submission
	grid := cuda.Dim{X: uint32(p.side / tile), Y: uint32(p.side / tile)}
	for range burst {
		q.Launch(p.kernel, grid, cuda.Dim{X: threads}, 0, &p.params)
	}
	return sustained(p.stream, p.bench.device, &q, d, ahead, 2*math.Pow(float64(p.side), 3)*burst)
}

// sustained submits q again and again for about d, ahead of the device, and
// returns amount for each per second.
func sustained(s *cuda.Stream, dev *cuda.Device, q *cuda.Submission, d time.Duration, ahead int, amount float64) (rate float64, err error) {
	events := make([]*cuda.Event, ahead)
	for i := range events {
		if events[i], err = dev.NewEvent(cuda.EventOptions{}); err != nil {
			return 0, err
		}
		defer func() { _ = events[i].Close() }() // a leak of one event is none of the figure's
	}
	start, n := time.Now(), 0
	for ; n < 2*ahead || time.Since(start) < d; n++ {
		if n >= ahead {
			if err := settle(events[n%ahead]); err != nil {
				return 0, err
			}
		}
		if _, err := s.Submit(q); err != nil {
			return 0, err
		}
		var mark cuda.Submission
		mark.RecordEvent(events[n%ahead])
		if _, err := s.Submit(&mark); err != nil {
			return 0, err
		}
	}
	if err := s.Synchronize(); err != nil {
		return 0, err
	}
	return amount * float64(n) / time.Since(start).Seconds(), nil
}

// settle waits for an event by looking at it: what waits has to notice within
// microseconds.
func settle(e *cuda.Event) error {
	for {
		done, err := e.Done()
		if done || err != nil {
			return err
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// check computes some elements of the product on the host. Sums in float of
// numbers in bf16 differ a little with their order.
func (p *product) check() error {
	if _, err := p.rate(time.Millisecond); err != nil {
		return err
	}
	data, err := p.bench.pool()
	if err != nil {
		return err
	}
	mem, err := p.bench.pin(int64(4 * p.side))
	if err != nil {
		return err
	}
	row := make([]byte, 2*p.side)
	for _, i := range []int{0, 1, p.side / 2, p.side - 1} {
		pattern(data).copy(row, int64(2*p.side*i))
		if _, err := contiguous(p.stream, address(mem), p.c.Ptr()+cuda.Ptr(4*p.side*i), int64(4*p.side))(); err != nil {
			return err
		}
		for _, j := range []int{0, 17, p.side - 1} {
			got := float64(math.Float32frombits(binary.LittleEndian.Uint32(mem[4*j:])))
			want, scale := p.element(data, row, j)
			if !(math.Abs(got-want) <= 1e-3*scale) {
				return fmt.Errorf("product at %d, %d is %g, want %g: %w", i, j, got, want, errWrong)
			}
		}
	}
	return nil
}

// element returns the sum of products of a row and column j, and that of their
// magnitudes.
func (p *product) element(data pattern, row []byte, j int) (sum, scale float64) {
	two := make([]byte, 2)
	for k := range p.side {
		data.copy(two, int64(2*(p.side*k+j)))
		v := bf16(row[2*k:]) * bf16(two)
		sum, scale = sum+v, scale+math.Abs(v)
	}
	return sum, scale
}

func bf16(b []byte) float64 {
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
}
