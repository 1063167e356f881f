package processfork

import (
	"math/bits"

	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
)

// fields reads an object whose keys are known. The value of keys[i] is read by
// calling read(i); unknown keys are skipped, a repeated one and a missing one
// that is not optional (a bit set of indices) are errors. It returns the set
// of keys that were there.
func fields(r *strictjson.Reader, keys []string, optional uint64, read func(i int) error) (uint64, error) {
	var seen uint64
	err := r.Object(func(key []byte) error {
		for i, k := range keys {
			if string(key) != k {
				continue
			}
			if seen&(1<<i) != 0 {
				return r.Errorf("key %q occurs twice", k)
			}
			seen |= 1 << i
			return read(i)
		}
		return r.Skip()
	})
	if err != nil {
		return seen, err
	}
	if missing := (1<<len(keys) - 1) &^ (seen | optional); missing != 0 {
		return seen, r.Errorf("key %q is missing", keys[bits.TrailingZeros64(missing)])
	}
	return seen, nil
}

const prefix = "sha256:"

// readDigest reads a string that is the text of a SHA-256 digest.
func readDigest(r *strictjson.Reader, d *digest.Digest) error {
	text, err := r.Text()
	if err != nil {
		return err
	}
	if len(text) == len(prefix)+2*digest.Size && string(text[:len(prefix)]) == prefix {
		var sum [digest.Size]byte
		if decodeHex(&sum, text[len(prefix):]) {
			*d = digest.New(digest.SHA256, sum)
			return nil
		}
	}
	return r.Errorf("%.80q is no digest of the form sha256:<64 lower-case hexadecimal digits>", text)
}

// decodeHex decodes 64 lower-case hexadecimal digits.
func decodeHex(sum *[digest.Size]byte, text []byte) bool {
	text = text[:2*digest.Size]
	bad := byte(0)
	for i := range sum {
		hi, lo := nibbles[text[2*i]], nibbles[text[2*i+1]]
		bad |= hi | lo
		sum[i] = hi<<4 | lo&15
	}
	return bad < 16
}

// nibbles gives the value of a lower-case hexadecimal digit, 255 for any
// other byte. It is never written to.
var nibbles = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = byte(c - '0')
		case c >= 'a' && c <= 'f':
			t[c] = byte(c - 'a' + 10)
		default:
			t[c] = 255
		}
	}
	return t
}()
