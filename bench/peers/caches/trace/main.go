// Command trace plays a trace of references to blocks on caches that an engine
// could use instead of kvferry's, once, and prints lines of JSON for kvferry's
// harness (bench/harness/peer.go):
//
//	caches --trace FILE --capacity 3000,10000 [--label data=NAME]
//
// The file has, for each request, the number of its blocks (4 bytes) and their
// ids (8 bytes each), little-endian. Each cache is asked for each block and given
// those that it lacks; a block is a buffer of 64 bytes of its own. For every
// capacity and cache it prints
//
//	op=hits/LABEL/capacity=C/cache=K       share of the references served, in percent
//	op=leading/LABEL/capacity=C/cache=K    of these before a request's first miss
//	op=reference/LABEL/capacity=C/cache=K  nanoseconds for each reference
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

func main() {
	file := flag.String("trace", "", "the trace")
	capacities := flag.String("capacity", "", "blocks, with commas between")
	label := flag.String("label", "", "goes into the figures' names")
	flag.Parse()
	if err := run(*file, *capacities, *label); err != nil {
		fmt.Fprintln(os.Stderr, "caches:", err)
		os.Exit(1)
	}
}

func run(file, capacities, label string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	trace, err := parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, text := range strings.Split(capacities, ",") {
		capacity, err := strconv.Atoi(text)
		if err != nil || capacity < 1 {
			return fmt.Errorf("capacity %q: want a number above 0", text)
		}
		for _, c := range contenders {
			tail := "capacity=" + text + "/cache=" + c.name
			if label != "" {
				tail = label + "/" + tail
			}
			report(tail, c, capacity, trace)
		}
	}
	return nil
}

// report plays a trace on one cache and prints its lines.
func report(tail string, c contender, capacity int, trace [][]uint64) {
	says := version(c.module)
	cache, err := c.make(capacity)
	if err != nil {
		say(line{Name: "op=hits/" + tail, Version: says, Error: err.Error()})
		return
	}
	p := play(cache, trace)
	cache.close()
	n := float64(max(1, p.refs))
	say(line{Name: "op=hits/" + tail, Version: says, Unit: "%", Value: 100 * float64(p.hits) / n, Note: c.note})
	say(line{Name: "op=leading/" + tail, Version: says, Unit: "%", Value: 100 * float64(p.leading) / n, Note: c.note})
	say(line{Name: "op=reference/" + tail, Version: says, Unit: "ns", Value: float64(p.took.Nanoseconds()) / n, Note: c.note})
}

// line is what the harness reads.
type line struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Unit    string  `json:"unit"`
	Value   float64 `json:"value"`
	Note    string  `json:"note,omitempty"`
	Error   string  `json:"error,omitempty"`
}

func say(l line) {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and a number that is no NaN
	}
	fmt.Println(string(text))
}

var errShort = errors.New("it ends inside a request")

// parse returns the requests of a trace.
func parse(raw []byte) ([][]uint64, error) {
	var out [][]uint64
	for len(raw) > 0 {
		if len(raw) < 4 {
			return nil, errShort
		}
		n := int(binary.LittleEndian.Uint32(raw))
		if raw = raw[4:]; len(raw)/8 < n {
			return nil, errShort
		}
		request := make([]uint64, n)
		for i := range request {
			request[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
		out, raw = append(out, request), raw[8*n:]
	}
	return out, nil
}

// played is what came of a trace.
type played struct {
	refs, hits, leading int
	took                time.Duration
}

func play(c cache, trace [][]uint64) (p played) {
	start := time.Now()
	for _, request := range trace {
		leading := true
		for _, b := range request {
			if c.get(b) {
				p.hits++
				if leading {
					p.leading++
				}
				continue
			}
			leading = false
			c.put(b, new([blockBytes]byte))
		}
		p.refs += len(request)
	}
	p.took = time.Since(start)
	return p
}

// version is a module's, as it was built in.
func version(module string) string {
	short := strings.TrimSuffix(module, "/v2")
	short = short[strings.LastIndexByte(short, '/')+1:]
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return short + " " + strings.TrimPrefix(d.Version, "v")
			}
		}
	}
	return short
}
