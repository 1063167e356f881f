package pipelinecache

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// FingerprintBytes is the length of a fingerprint.
const FingerprintBytes = 32

// Fingerprint names an artifact. It is expected to be the output of a
// cryptographic hash: caches spread fingerprints by their first byte.
type Fingerprint [FingerprintBytes]byte

// String returns 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads the text of a fingerprint. Other spellings (upper case,
// another length) are ErrInvalid.
func ParseFingerprint(text string) (Fingerprint, error) {
	var f Fingerprint
	if len(text) != 2*FingerprintBytes {
		return f, fmt.Errorf("pipelinecache: fingerprint %.80q: want %d lower-case hexadecimal digits: %w", text, 2*FingerprintBytes, kvferry.ErrInvalid)
	}
	if _, err := hex.Decode(f[:], []byte(text)); err != nil || f.String() != text {
		return Fingerprint{}, fmt.Errorf("pipelinecache: fingerprint %q: want lower-case hexadecimal digits: %w", text, kvferry.ErrInvalid)
	}
	return f, nil
}

// Kernel is what a compiled kernel depends on.
type Kernel struct {
	PTX []byte
	// Major and Minor are the compute capability of the device: 9 and 0.
	Major, Minor int
	// DriverVersion is what cuDriverGetVersion returns: 13000 for 13.0.
	DriverVersion int
	// LinkOptions are those of the compilation and the link, in their order.
	LinkOptions []string
}

const kernelLabel = "kvferry kernel fingerprint v1"

// Fingerprint returns the fingerprint of the kernel; the package comment has
// its recipe.
func (k Kernel) Fingerprint() Fingerprint {
	b := appendField(make([]byte, 0, len(k.PTX)+256), kernelLabel)
	b = appendField(b, k.PTX)
	b = appendField(b, fmt.Sprintf("%d.%d", k.Major, k.Minor))
	b = appendField(b, strconv.Itoa(k.DriverVersion))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(k.LinkOptions)))
	for _, o := range k.LinkOptions {
		b = appendField(b, o)
	}
	return Fingerprint(sum(b))
}

func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(field)))
	return append(b, field...)
}

// hashers saves making one, which is several times as long as a small artifact.
var hashers = sync.Pool{New: func() any {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err) // without a key it cannot fail
	}
	return h
}}

// sum is BLAKE3-256 without a key.
func sum(b []byte) [digest.Size]byte {
	h := hashers.Get().(*digest.Hasher) //nolint:forcetypeassert // nothing else is put there
	defer hashers.Put(h)
	d := h.Sum(b)
	return d.Sum()
}
