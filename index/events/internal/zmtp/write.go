package zmtp

import (
	"encoding/binary"
	"time"
)

// Write sends a message.
func (c *Conn) Write(frames ...[]byte) error {
	c.out = AppendMessage(c.out[:0], frames...)
	return c.flush()
}

// WriteRaw sends bytes of whole messages, as AppendMessage makes them.
func (c *Conn) WriteRaw(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.limits.Handshake)); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	return err
}

// AppendMessage appends a message as it goes over the wire.
func AppendMessage(dst []byte, frames ...[]byte) []byte {
	for i, f := range frames {
		flags := byte(0)
		if i < len(frames)-1 {
			flags = flagMore
		}
		dst = append(appendHead(dst, flags, len(f)), f...)
	}
	return dst
}

// Subscribe asks for the messages whose first frame begins with topic.
func (c *Conn) Subscribe(topic string) error {
	if c.minor == 0 {
		return c.Write(append([]byte{1}, topic...))
	}
	return c.writeCommand("SUBSCRIBE", []byte(topic))
}

// Subscription waits for the other side's Subscribe and returns its topic.
func (c *Conn) Subscription() (topic string, err error) {
	for {
		c.buf, c.ends = c.buf[:0], c.ends[:0]
		flags, err := c.frame()
		if err != nil {
			return "", err
		}
		if flags&flagCommand == 0 && len(c.buf) > 0 && c.buf[0] == 1 {
			return string(c.buf[1:]), nil
		}
		name, body, err := splitCommand(c.buf)
		if err != nil || name == "SUBSCRIBE" {
			return string(body), err
		}
	}
}

func (c *Conn) writeCommand(name string, body []byte) error {
	c.out = appendHead(c.out[:0], flagCommand, 1+len(name)+len(body))
	c.out = append(append(append(c.out, byte(len(name))), name...), body...)
	return c.flush()
}

func (c *Conn) flush() error { return c.WriteRaw(c.out) }

func appendHead(dst []byte, flags byte, n int) []byte {
	if n > 255 {
		return binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(n))
	}
	return append(dst, flags, byte(n))
}
