package zmtp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
)

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

// readerBytes is how much is read from the socket at once.
const readerBytes = 256 << 10

// keepBytes is the largest buffer that a connection keeps for its next message.
const keepBytes = 4 << 20

// maxCommandBytes is the length of the longest command that is read. Those that
// there are have a name and some properties.
const maxCommandBytes = 64 << 10

// maxFrames is how many frames a message may have.
const maxFrames = 16

// Limits are what a connection puts up with.
type Limits struct {
	MessageBytes int           // longest message
	Handshake    time.Duration // for a handshake, and for whatever is written
	Heartbeat    time.Duration // silence after which a PING is sent
	Silence      time.Duration // silence, in spite of PINGs or within a message, that ends it
}

// Conn is one connection. It is for one goroutine.
type Conn struct {
	nc     net.Conn
	r      *bufio.Reader
	limits Limits
	minor  byte // of the other side's version 3
	peer   string
	before func() error

	buf    []byte
	ends   []int // of frames in buf
	frames [][]byte
	out    []byte
	wait   time.Duration // of the next read of the socket
	end    time.Time     // of the handshake, however often something comes
	heard  time.Time     // when something came last, or was waited for first
}

// Message is the frames of one message, valid until the next Read.
type Message [][]byte

// SetBeforeWait sets what is called each time before a Read goes to the socket,
// because what came is used up. Its error ends the Read.
func (c *Conn) SetBeforeWait(before func() error) { c.before = before }

// waiter calls before each read of the socket.
type waiter struct{ c *Conn }

func (w waiter) Read(p []byte) (int, error) {
	if w.c.before != nil {
		if err := w.c.before(); err != nil {
			return 0, err
		}
	}
	deadline := w.c.end
	if deadline.IsZero() {
		deadline = time.Now().Add(w.c.wait)
	}
	if err := w.c.nc.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return w.c.nc.Read(p)
}

// Close closes the connection. It may be called from any goroutine.
func (c *Conn) Close() error { return c.nc.Close() }

// Read returns the next message. It answers PINGs, and sends one when the other
// side is silent.
func (c *Conn) Read() (Message, error) {
	c.buf, c.ends = c.trim(), c.ends[:0]
	for {
		if err := c.await(); err != nil {
			return nil, err
		}
		flags, err := c.frame()
		if err != nil {
			return nil, err
		}
		if flags&flagCommand != 0 {
			if err := c.command(); err != nil {
				return nil, err
			}
			continue
		}
		c.ends = append(c.ends, len(c.buf))
		if flags&flagMore == 0 {
			return c.message(), nil
		}
		if len(c.ends) >= maxFrames {
			return nil, corrupt("message of more than %d frames", maxFrames)
		}
	}
}

func (c *Conn) message() Message {
	c.frames = c.frames[:0]
	begin := 0
	for _, end := range c.ends {
		c.frames = append(c.frames, c.buf[begin:end:end])
		begin = end
	}
	return c.frames
}

// trim returns the buffer to be used again, unless one long message made it large.
func (c *Conn) trim() []byte {
	if cap(c.buf) > keepBytes && len(c.buf) < keepBytes {
		return nil
	}
	return c.buf[:0]
}

// await waits for the first byte of a frame.
func (c *Conn) await() error {
	if c.r.Buffered() > 0 {
		return nil
	}
	c.heard, c.wait = time.Now(), c.limits.Heartbeat
	defer func() { c.wait = c.limits.Silence }()
	for {
		_, err := c.r.Peek(1)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if c.minor == 0 {
			continue // knows no PING; TCP's own must do
		}
		if time.Since(c.heard) > c.limits.Silence {
			return fmt.Errorf("zmtp: nothing from %s for %v, not even an answer to PING: %w", c.peer, c.limits.Silence, os.ErrDeadlineExceeded)
		}
		if err := c.writeCommand("PING", []byte{0, 0}); err != nil {
			return err
		}
	}
}

// frame appends the body of the next frame to buf and returns its flags.
func (c *Conn) frame() (flags byte, err error) {
	flags, err = c.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, corrupt("frame with flags %#x", flags)
	}
	var length uint64
	if flags&flagLong == 0 {
		b, err := c.r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		length = uint64(b)
	} else {
		var b [8]byte
		if _, err := io.ReadFull(c.r, b[:]); err != nil {
			return 0, unexpected(err)
		}
		length = binary.BigEndian.Uint64(b[:])
	}
	if (flags&flagCommand != 0 || !c.end.IsZero()) && length > maxCommandBytes {
		return 0, corrupt("command of %d bytes, at most %d", length, maxCommandBytes)
	}
	if length > uint64(max(c.limits.MessageBytes-len(c.buf), 0)) {
		return 0, corrupt("message of more than %d bytes", c.limits.MessageBytes)
	}
	return flags, c.body(int(length))
}

// body appends n bytes to buf, in steps, so that a length alone allocates little.
func (c *Conn) body(n int) error {
	for n > 0 {
		step := min(n, max(len(c.buf), readerBytes))
		at := len(c.buf)
		c.buf = slices.Grow(c.buf, step)[:at+step]
		if _, err := io.ReadFull(c.r, c.buf[at:]); err != nil {
			return unexpected(err)
		}
		n -= step
	}
	return nil
}

// command takes the command off buf that a frame appended, and acts on it.
func (c *Conn) command() error {
	begin := 0
	if n := len(c.ends); n > 0 {
		begin = c.ends[n-1]
	}
	name, body, err := splitCommand(c.buf[begin:])
	c.buf = c.buf[:begin]
	if err != nil {
		return err
	}
	switch name {
	case "PING":
		if len(body) < 2 || len(body) > 2+16 {
			return corrupt("PING of %d bytes", len(body))
		}
		return c.writeCommand("PONG", body[2:])
	case "ERROR":
		return refused(body)
	}
	return nil
}

func splitCommand(b []byte) (name string, body []byte, err error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, corrupt("command of %d bytes", len(b))
	}
	end := 1 + int(b[0]) // not a byte: 255 and one would be none
	return string(b[1:end]), b[end:], nil
}

func refused(body []byte) error {
	if len(body) > 0 && len(body) >= 1+int(body[0]) {
		body = body[1 : 1+int(body[0])]
	}
	return fmt.Errorf("zmtp: refused by the other side: %q: %w", body, kvferry.ErrUnsupported)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("zmtp: "+format+": %w", append(args, kvferry.ErrCorrupt)...)
}

// unexpected is the end of a stream within a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
