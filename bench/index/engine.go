package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
)

// The events are those of vLLM 0.33: maps, integer hashes, one event for each
// prompt.
const (
	eventBlocks      = 64
	eventBlockTokens = 16
)

// messages are those of a publisher that tells of n blocks, as they go over the
// wire: topic, number and batch in three frames.
func messages(n int) []byte {
	var wire, batch []byte
	for seq := 0; n > 0; seq++ {
		blocks := min(n, eventBlocks)
		n -= blocks
		batch = appendBatch(batch[:0], seq, blocks)
		wire = append(wire, 1, 2, 'k', 'v', 1, 8) // short frames, more follow
		wire = binary.BigEndian.AppendUint64(wire, uint64(seq))
		wire = append(wire, 2) // a long one, the last
		wire = binary.BigEndian.AppendUint64(wire, uint64(len(batch)))
		wire = append(wire, batch...)
	}
	return wire
}

// appendBatch writes [time, [event], rank] as MessagePack.
func appendBatch(dst []byte, seq, blocks int) []byte {
	dst = append(dst, 0x93, 0xcb)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(1.75e9+float64(seq)/1000))
	dst = append(dst, 0x91, 0x88) // one event of eight fields
	dst = appendText(appendText(dst, "type"), "BlockStored")
	dst = appendArray(appendText(dst, "block_hashes"), blocks)
	first := seq * eventBlocks
	for i := range blocks {
		dst = binary.BigEndian.AppendUint64(append(dst, 0xcf), mix(uint64(first+i)))
	}
	dst = append(appendText(dst, "parent_block_hash"), 0xc0)
	dst = appendArray(appendText(dst, "token_ids"), blocks*eventBlockTokens)
	for i := range blocks * eventBlockTokens {
		dst = binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(mix(uint64(first*eventBlockTokens+i))%128_000))
	}
	dst = append(appendText(dst, "block_size"), eventBlockTokens)
	dst = append(appendText(dst, "lora_id"), 0xc0)
	dst = appendText(appendText(dst, "medium"), "GPU")
	dst = append(appendText(dst, "lora_name"), 0xc0)
	return append(dst, 0x00)
}

func appendText(dst []byte, s string) []byte { return append(append(dst, 0xa0|byte(len(s))), s...) }

func appendArray(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint16(append(dst, 0xdc), uint16(n))
}

// engine connects to a subscriber, as a ZeroMQ publisher does, sends messages, and
// stays until ctx ends.
func engine(ctx context.Context, addr string, wire []byte) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimSpace(addr))
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // the write's error tells
	defer stop()
	if err := greet(c); err != nil {
		return errors.Join(fmt.Errorf("engine: %w", err), c.Close())
	}
	// The subscriber goes when it has what it wants or its time is over, and tells
	// by its report what came.
	_, _ = c.Write(wire)
	<-ctx.Done()
	_ = c.Close()
	return nil
}

// greet shakes hands by ZMTP 3.0 and waits for the subscription.
func greet(c net.Conn) error {
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := "\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
	if _, err := fmt.Fprintf(c, "%s\x04%c%s", greeting, len(ready), ready); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, greeting); err != nil {
		return err
	}
	for range 2 { // READY, and the subscription
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		if head[0]&2 != 0 {
			return errors.New("a handshake with long frames")
		}
		if _, err := io.CopyN(io.Discard, c, int64(head[1])); err != nil {
			return err
		}
	}
	return nil
}
