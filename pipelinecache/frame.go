package pipelinecache

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

const (
	// MaxArtifactBytes is the longest artifact that a frame holds.
	MaxArtifactBytes = 64 << 20
	// MinFrameBytes is the length of a frame without an artifact.
	MinFrameBytes = headerBytes + footerBytes
	// MaxFrameBytes is the length of the longest frame.
	MaxFrameBytes = headerBytes + MaxArtifactBytes + footerBytes
	// SchemaVersion is that of the frames that AppendFrame makes.
	SchemaVersion = 1

	magic       = "VPC0"
	headerBytes = len(magic) + 2
	footerBytes = digest.Size
)

// AppendFrame appends the frame of an artifact to dst. An artifact that is too
// long is ErrInvalid.
func AppendFrame(dst, artifact []byte) ([]byte, error) {
	if err := CheckArtifact(artifact); err != nil {
		return dst, err
	}
	from := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, SchemaVersion)
	dst = append(dst, artifact...)
	footer := sum(dst[from:])
	return append(dst, footer[:]...), nil
}

// CheckArtifact returns ErrInvalid if an artifact is longer than a frame holds.
func CheckArtifact(artifact []byte) error {
	if len(artifact) > MaxArtifactBytes {
		return fmt.Errorf("pipelinecache: an artifact of %d bytes: at most %d can be kept: %w", len(artifact), MaxArtifactBytes, kvferry.ErrInvalid)
	}
	return nil
}

// ParseFrame returns the artifact in a frame; it lies in frame. A frame whose
// length, footer or magic is wrong is ErrCorrupt; a sound one of another schema
// is ErrUnsupported.
func ParseFrame(frame []byte) (artifact []byte, err error) {
	if err := checkLength(frame, MinFrameBytes, MaxFrameBytes); err != nil {
		return nil, err
	}
	if !footed(frame) {
		return nil, fmt.Errorf("pipelinecache: a frame of %d bytes does not match its hash: %w", len(frame), kvferry.ErrCorrupt)
	}
	if !HasMagic(frame) {
		return nil, fmt.Errorf("pipelinecache: a frame begins with %x, not with %q: %w", frame[:len(magic)], magic, kvferry.ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint16(frame[len(magic):]); v != SchemaVersion {
		return nil, fmt.Errorf("pipelinecache: a frame of schema %d, this build knows %d: %w", v, SchemaVersion, kvferry.ErrUnsupported)
	}
	return frame[headerBytes : len(frame)-footerBytes : len(frame)-footerBytes], nil
}

// HasMagic tells whether bytes begin as a versioned frame does.
func HasMagic(frame []byte) bool { return bytes.HasPrefix(frame, []byte(magic)) }

// ParseLegacy returns the artifact in a file from before there were versions; it
// lies in file. What has the magic is not one: it is ErrCorrupt, like a file
// whose length or hash is wrong.
func ParseLegacy(file []byte) (artifact []byte, err error) {
	if err := checkLength(file, footerBytes, MaxArtifactBytes+footerBytes); err != nil {
		return nil, err
	}
	if HasMagic(file) {
		return nil, fmt.Errorf("pipelinecache: a file with the magic %q is no unversioned one: %w", magic, kvferry.ErrCorrupt)
	}
	if !footed(file) {
		return nil, fmt.Errorf("pipelinecache: an unversioned file of %d bytes does not match its hash: %w", len(file), kvferry.ErrCorrupt)
	}
	return file[: len(file)-footerBytes : len(file)-footerBytes], nil
}

func checkLength(b []byte, least, most int) error {
	if len(b) < least || len(b) > most {
		return fmt.Errorf("pipelinecache: %d bytes, want %d to %d: %w", len(b), least, most, kvferry.ErrCorrupt)
	}
	return nil
}

// footed tells whether the last bytes are the hash of the others.
func footed(b []byte) bool {
	n := len(b) - footerBytes
	return sum(b[:n]) == [footerBytes]byte(b[n:])
}
