// Package digest names bytes by what they are.
//
// A Digest is a comparable value: an algorithm and 32 bytes. Its text form is
// the algorithm's name, a colon and 64 lower-case hexadecimal digits:
//
//	blake3:<64 hex>         BLAKE3-256, kvferry's own blobs
//	blake3-keyed:<64 hex>   keyed BLAKE3-256, blobs of a tenant with a salt
//	sha256:<64 hex>         SHA-256, ProcessFork's blobs
//
// The zero Digest is invalid and names nothing. Text that comes from outside
// is always parsed; other spellings (upper case, other lengths, a missing
// prefix) are refused.
package digest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
)

// Size is the length in bytes of every digest's sum.
const Size = 32

// Algorithm is the function that a digest was made with.
type Algorithm uint8

// The algorithms. The zero value is invalid. The numbers are stored in page
// tables and must not change.
const (
	BLAKE3      Algorithm = 1
	KeyedBLAKE3 Algorithm = 2
	SHA256      Algorithm = 3
)

// String returns the algorithm's name as it stands before the colon, or
// "invalid".
func (a Algorithm) String() string {
	switch a {
	case BLAKE3:
		return "blake3"
	case KeyedBLAKE3:
		return "blake3-keyed"
	case SHA256:
		return "sha256"
	}
	return "invalid"
}

// Valid reports whether a is a known algorithm.
func (a Algorithm) Valid() bool { return a >= BLAKE3 && a <= SHA256 }

// ParseAlgorithm returns the algorithm with the given name, or ErrUnsupported.
func ParseAlgorithm(name string) (Algorithm, error) {
	for a := BLAKE3; a.Valid(); a++ {
		if a.String() == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("digest: algorithm %q: %w", name, kvferry.ErrUnsupported)
}

// Digest names bytes. It is comparable and usable as a map key; its zero value
// is invalid.
type Digest struct {
	alg Algorithm
	sum [Size]byte
}

// New returns the digest with the given algorithm and sum.
func New(a Algorithm, sum [Size]byte) Digest { return Digest{a, sum} }

// Valid reports whether d names anything.
func (d Digest) Valid() bool { return d.alg.Valid() }

// Algorithm returns d's algorithm; 0 if d is invalid.
func (d Digest) Algorithm() Algorithm { return d.alg }

// Sum returns d's 32 bytes.
func (d Digest) Sum() [Size]byte { return d.sum }

// Hex returns the 64 lower-case hexadecimal digits of d's sum.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:]) }

// String returns d's text form, or "invalid" for the zero value.
func (d Digest) String() string {
	if !d.Valid() {
		return "invalid"
	}
	return d.alg.String() + ":" + d.Hex()
}

// Append appends d's text form to dst without allocating.
func (d Digest) Append(dst []byte) []byte {
	dst = append(dst, d.alg.String()...)
	dst = append(dst, ':')
	return hex.AppendEncode(dst, d.sum[:])
}

// Compare orders digests by algorithm, then by sum.
func (d Digest) Compare(o Digest) int {
	if d.alg != o.alg {
		return int(d.alg) - int(o.alg)
	}
	return bytes.Compare(d.sum[:], o.sum[:])
}

// MarshalText implements encoding.TextMarshaler. The zero value is an error.
func (d Digest) MarshalText() ([]byte, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("digest: marshal of an invalid digest: %w", kvferry.ErrInvalid)
	}
	return d.Append(nil), nil
}

// UnmarshalText implements encoding.TextUnmarshaler with the rules of Parse.
func (d *Digest) UnmarshalText(text []byte) error {
	p, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = p
	return nil
}

// Parse reads the text form of a digest. Anything but a known algorithm, a
// colon and exactly 64 lower-case hexadecimal digits is ErrInvalid.
func Parse(s string) (Digest, error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok {
		return Digest{}, fmt.Errorf("digest: %.80q has no algorithm prefix: %w", s, kvferry.ErrInvalid)
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Digest{}, fmt.Errorf("digest: %.80q: unknown algorithm: %w", s, kvferry.ErrInvalid)
	}
	return ParseHex(a, text)
}

// ParseHex reads the 64 lower-case hexadecimal digits of a digest made with a.
func ParseHex(a Algorithm, text string) (Digest, error) {
	d := Digest{alg: a}
	if !a.Valid() || len(text) != 2*Size || !lowerHex(text) {
		return Digest{}, fmt.Errorf("digest: %.80q is not 64 lower-case hexadecimal digits: %w", text, kvferry.ErrInvalid)
	}
	if _, err := hex.Decode(d.sum[:], []byte(text)); err != nil {
		return Digest{}, fmt.Errorf("digest: %.80q: %w", text, kvferry.ErrInvalid)
	}
	return d, nil
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
