package zmtp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

var limits = zmtp.Limits{MessageBytes: 1 << 20, Handshake: 10 * time.Second, Heartbeat: 10 * time.Second, Silence: 10 * time.Second}

// pair returns two ends of a TCP connection; a pipe would not buffer.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var d net.Dialer
	a, err = d.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _, _ = a.Close(), b.Close() }) // most are closed by then
	return a, b
}

// shake makes two ends of different kinds.
func shake(t testing.TB, kindA, kindB string, la zmtp.Limits) (a, b *zmtp.Conn) {
	t.Helper()
	na, nb := pair(t)
	var wg sync.WaitGroup
	var errB error
	wg.Go(func() { b, errB = zmtp.Handshake(nb, kindB, limits) })
	a, err := zmtp.Handshake(na, kindA, la)
	wg.Wait()
	require.NoError(t, err)
	require.NoError(t, errB)
	return a, b
}

func TestMessages(t *testing.T) {
	t.Parallel()
	sub, pub := shake(t, "SUB", "PUB", limits)
	require.NoError(t, sub.Subscribe("kv@"))
	topic, err := pub.Subscription()
	require.NoError(t, err)
	require.Equal(t, "kv@", topic)
	long := bytes.Repeat([]byte("x"), 700<<10)
	for _, frames := range [][]string{{""}, {"a", "", "b"}, {string(long), "c"}, {strings.Repeat("y", 255)}, {strings.Repeat("y", 256)}, {"end"}} {
		var out [][]byte
		for _, f := range frames {
			out = append(out, []byte(f))
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = pub.Write(out...) }) // what fails is seen by the reader
		m, err := sub.Read()
		wg.Wait()
		require.NoError(t, err)
		var got []string
		for _, f := range m {
			got = append(got, string(f))
		}
		require.Equal(t, frames, got)
	}
}

// A request for a replay, as it goes to a ROUTER.
func TestDealer(t *testing.T) {
	t.Parallel()
	dealer, router := shake(t, "DEALER", "ROUTER", limits)
	require.NoError(t, dealer.Write(nil, []byte("12345678")))
	m, err := router.Read()
	require.NoError(t, err)
	require.Equal(t, zmtp.Message{{}, []byte("12345678")}, m)
}

func TestHandshakeRefuses(t *testing.T) {
	t.Parallel()
	greeting := func(major, minor byte, mechanism string) string {
		g := make([]byte, 64)
		g[0], g[9], g[10], g[11] = 0xff, 0x7f, major, minor
		copy(g[12:], mechanism)
		return string(g)
	}
	ready := func(kind string) string {
		body := "\x05READY\x0bSocket-Type\x00\x00\x00" + string(rune(len(kind))) + kind
		return "\x04" + string(rune(len(body))) + body
	}
	for name, c := range map[string]struct {
		theirs string
		want   error
	}{
		"http":           {strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 10), kvferry.ErrCorrupt},
		"old":            {greeting(1, 0, ""), kvferry.ErrUnsupported},
		"curve":          {greeting(3, 1, "CURVE"), kvferry.ErrUnsupported},
		"kind":           {greeting(3, 1, "NULL") + ready("PULL"), kvferry.ErrUnsupported},
		"error":          {greeting(3, 1, "NULL") + "\x04\x0a\x05ERROR\x03bad", kvferry.ErrUnsupported},
		"message":        {greeting(3, 1, "NULL") + "\x00\x01x", kvferry.ErrCorrupt},
		"other":          {greeting(3, 1, "NULL") + "\x04\x06\x05HELLO", kvferry.ErrCorrupt},
		"short property": {greeting(3, 1, "NULL") + "\x04\x0a\x05READY\x0bSoc", kvferry.ErrCorrupt},
		"gone":           {greeting(3, 1, "NULL")[:40], io.ErrUnexpectedEOF},
		"long command":   {greeting(3, 1, "NULL") + "\x06\x00\x00\x00\x00\x00\x01\x00\x01", kvferry.ErrCorrupt},
		"long message":   {greeting(3, 1, "NULL") + "\x02\x00\x00\x00\x00\x00\x01\x00\x01", kvferry.ErrCorrupt},
		"flags":          {greeting(3, 1, "NULL") + "\x80\x00", kvferry.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			_, err := b.Write([]byte(c.theirs))
			require.NoError(t, err)
			require.NoError(t, b.(*net.TCPConn).CloseWrite())
			_, err = zmtp.Handshake(a, "SUB", limits)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// TestHandshakeTakesItsTime: who sends a byte now and then is not waited for longer than
// who sends nothing.
func TestHandshakeTakesItsTime(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := b.Write([]byte{0xff}); err != nil { // until the other side is gone
				return
			}
		}
	})
	l := limits
	l.Handshake = 30 * time.Millisecond // for 64 bytes of a greeting
	_, err := zmtp.Handshake(a, "SUB", l)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	wg.Wait()
}

// A 3.0 side gets its subscription as a message.
func TestSubscribeOldSide(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	g := make([]byte, 64)
	g[0], g[9], g[10] = 0xff, 0x7f, 3
	copy(g[12:], "NULL")
	_, err := b.Write([]byte(string(g) + "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"))
	require.NoError(t, err)
	c, err := zmtp.Handshake(a, "SUB", limits)
	require.NoError(t, err)
	require.NoError(t, c.Subscribe("t"))
	require.NoError(t, c.Close())
	all, err := io.ReadAll(b)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(all, []byte("\x00\x02\x01t")), "%q", all)
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"huge":              {"\x02\x7f\xff\xff\xff\xff\xff\xff\xff", kvferry.ErrCorrupt},
		"negative":          {"\x02\xff\xff\xff\xff\xff\xff\xff\xff", kvferry.ErrCorrupt},
		"too long together": {"\x03\x00\x00\x00\x00\x00\x0c\x00\x00" + strings.Repeat("x", 0xc0000) + "\x02\x00\x00\x00\x00\x00\x0c\x00\x00", kvferry.ErrCorrupt},
		"many frames":       {strings.Repeat("\x01\x00", 17), kvferry.ErrCorrupt},
		"ends in a frame":   {"\x00\x05abc", io.ErrUnexpectedEOF},
		"ends in a length":  {"\x02\x00\x00", io.ErrUnexpectedEOF},
		"ends":              {"", io.EOF},
		"empty command":     {"\x04\x00", kvferry.ErrCorrupt},
		"long ping":         {"\x04\x20\x04PING" + strings.Repeat("p", 27), kvferry.ErrCorrupt},
		"long command":      {"\x06\x00\x00\x00\x00\x00\x01\x00\x01", kvferry.ErrCorrupt},
		"command and more":  {"\x05\x01\x00", kvferry.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			na, nb := pair(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := zmtp.Handshake(nb, "PUB", limits); err == nil {
					_, _ = nb.Write([]byte(c.bytes)) // the reader may have left
					_ = nb.(*net.TCPConn).CloseWrite()
				}
			})
			a, err := zmtp.Handshake(na, "SUB", limits)
			require.NoError(t, err)
			_, err = a.Read()
			require.ErrorIs(t, err, c.want)
			require.NoError(t, a.Close())
			wg.Wait()
		})
	}
}

// A silent side is asked, and answers as long as it reads; one that does not is
// given up.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	quick := limits
	quick.Heartbeat, quick.Silence = time.Millisecond, time.Minute
	sub, pub := shake(t, "SUB", "PUB", quick)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = pub.Read() }) // answers until the end
	pings := make(chan struct{}, 1)
	sub.SetBeforeWait(func() error {
		select {
		case pings <- struct{}{}:
			return nil
		default:
			return errors.New("enough")
		}
	})
	_, err := sub.Read()
	require.ErrorContains(t, err, "enough")
	require.NoError(t, sub.Close())
	wg.Wait()

	quick.Silence = 2 * time.Millisecond
	sub, _ = shake(t, "SUB", "PUB", quick)
	_, err = sub.Read()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A side that stops within a message is given up, too.
func TestStallWithinMessage(t *testing.T) {
	t.Parallel()
	quick := limits
	quick.Silence = 20 * time.Millisecond
	sub, pub := shake(t, "SUB", "PUB", quick)
	require.NoError(t, pub.WriteRaw([]byte("\x00\x05abc")))
	_, err := sub.Read()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, pub.Close())
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string][2]string{
		"tcp://*:5557": {"tcp", ":5557"}, "tcp://[::1]:5": {"tcp", "[::1]:5"}, "tcp://h:0": {"tcp", "h:0"}, "ipc:///tmp/x": {"unix", "/tmp/x"},
	} {
		network, address, err := zmtp.Address(endpoint)
		require.NoError(t, err)
		require.Equal(t, want, [2]string{network, address})
	}
	for _, endpoint := range []string{"", "tcp://h", "tcp://h:", "udp://h:1", "ipc://", "inproc://x"} {
		_, _, err := zmtp.Address(endpoint)
		require.ErrorIs(t, err, kvferry.ErrInvalid, endpoint)
	}
}

// bytesConn is a connection whose other side has said all that it will say.
type bytesConn struct {
	net.Conn
	r *bytes.Reader
}

func (c bytesConn) Read(p []byte) (int, error)     { return c.r.Read(p) }
func (bytesConn) Write(p []byte) (int, error)      { return len(p), nil }
func (bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (bytesConn) SetWriteDeadline(time.Time) error { return nil }
func (bytesConn) Close() error                     { return nil }
func (bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// FuzzRead takes all that another side may send, its greeting included.
func FuzzRead(f *testing.F) {
	g := make([]byte, 64)
	g[0], g[9], g[10], g[11] = 0xff, 0x7f, 3, 1
	copy(g[12:], "NULL")
	hello := string(g) + "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
	f.Add([]byte(hello + "\x01\x02kv\x01\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x03abc"))
	f.Add([]byte(hello + "\x04\x07\x04PING\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01x"))
	f.Add([]byte(hello + "\x04\x08\x05ERROR\x01x"))
	f.Add([]byte(hello + "\x03\x00\x00\x00\x00\x00\x00\x00\x01x\x00\x00"))
	f.Add([]byte(hello[:70]))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := zmtp.Handshake(bytesConn{r: bytes.NewReader(data)}, "SUB", limits)
		read := 0
		for err == nil {
			var m zmtp.Message
			if m, err = c.Read(); err == nil {
				require.NotEmpty(t, m)
				for _, frame := range m {
					read += len(frame)
				}
				require.LessOrEqual(t, read, len(data))
			}
		}
		known := false
		for _, want := range []error{io.EOF, io.ErrUnexpectedEOF, kvferry.ErrCorrupt, kvferry.ErrUnsupported} {
			known = known || errors.Is(err, want)
		}
		require.True(t, known, "%v", err)
	})
}
