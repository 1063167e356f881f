package zmtp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
)

// peers are the kinds of sockets that a kind of socket talks to.
var peers = map[string][]string{
	"SUB":    {"PUB", "XPUB"},
	"DEALER": {"ROUTER", "REP", "DEALER"},
	"PUB":    {"SUB", "XSUB"},
	"ROUTER": {"DEALER", "REQ", "ROUTER"},
}

// Handshake makes a connection of one that was dialled or accepted, as a kind of
// socket: SUB, DEALER, PUB or ROUTER. It closes nc if it fails.
func Handshake(nc net.Conn, kind string, l Limits) (*Conn, error) {
	c := &Conn{nc: nc, limits: l, wait: l.Handshake, end: time.Now().Add(l.Handshake), peer: nc.RemoteAddr().String()}
	c.r = bufio.NewReaderSize(waiter{c}, readerBytes)
	err := c.greet(kind)
	if err == nil {
		err = c.ready(kind)
	}
	if err != nil {
		_ = nc.Close() // the handshake's error is the one that counts
		return nil, fmt.Errorf("zmtp: handshake with %s: %w", c.peer, err)
	}
	c.end = time.Time{}
	return c, nil
}

func (c *Conn) greet(kind string) error {
	var g [64]byte
	g[0], g[8], g[9], g[10], g[11] = 0xff, 1, 0x7f, 3, 1
	copy(g[12:32], "NULL")
	if err := c.WriteRaw(append(g[:], readyCommand(kind)...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.r, g[:]); err != nil {
		return unexpected(err)
	}
	mechanism := strings.TrimRight(string(g[12:32]), "\x00")
	switch {
	case g[0] != 0xff || g[9]&1 != 1:
		return corrupt("no ZMTP greeting")
	case g[10] < 3:
		return fmt.Errorf("zmtp: version %d of the protocol, at least 3 is needed: %w", g[10], kvferry.ErrUnsupported)
	case mechanism != "NULL":
		return fmt.Errorf("zmtp: the other side wants the mechanism %q, only NULL is known here: %w", mechanism, kvferry.ErrUnsupported)
	}
	c.minor = 1
	if g[10] == 3 {
		c.minor = g[11]
	}
	return nil
}

func readyCommand(kind string) []byte {
	body := append([]byte{5}, "READY"...)
	for _, p := range [][2]string{{"Socket-Type", kind}, {"Identity", ""}} {
		body = append(append(body, byte(len(p[0]))), p[0]...)
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(p[1]))), p[1]...)
	}
	return append(appendHead(nil, flagCommand, len(body)), body...)
}

func (c *Conn) ready(kind string) error {
	flags, err := c.frame()
	if err != nil {
		return unexpected(err)
	}
	name, body, err := splitCommand(c.buf)
	switch {
	case err != nil:
		return err
	case flags&flagCommand == 0:
		return corrupt("a message before READY")
	case name == "ERROR":
		return refused(body)
	case name != "READY":
		return corrupt("%q before READY", name)
	}
	theirs, err := property(body, "socket-type")
	if err != nil {
		return err
	}
	if !slices.Contains(peers[kind], theirs) {
		return fmt.Errorf("zmtp: the other side is a %q socket, of no use to a %s: %w", theirs, kind, kvferry.ErrUnsupported)
	}
	return nil
}

// property returns the value of a property of READY, whose name is in lower case.
func property(body []byte, name string) (value string, err error) {
	for len(body) > 0 {
		n := 1 + int(body[0])
		if len(body) < n+4 {
			return "", corrupt("READY ends within a property")
		}
		size := uint64(binary.BigEndian.Uint32(body[n:]))
		if uint64(len(body)-n-4) < size {
			return "", corrupt("READY ends within a property")
		}
		if strings.ToLower(string(body[1:n])) == name {
			value = string(body[n+4 : n+4+int(size)])
		}
		body = body[n+4+int(size):]
	}
	return value, nil
}
