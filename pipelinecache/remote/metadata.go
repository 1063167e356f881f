package remote

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// The headers of an answer.
const (
	FingerprintHeader = "X-Vyre-Cache-Fingerprint"
	ProvenanceHeader  = "X-Vyre-Cache-Source-Provenance"
	DeviceHeader      = "X-Vyre-Cache-Device-Compatibility"
)

// Metadata says what the artifacts of a server are.
type Metadata struct {
	// Provenance is what they were built from: "git:abc123".
	Provenance string
	// Device is what they run on: "cuda-sm90".
	Device string
}

// HeaderError is returned for an answer whose header is not what it has to be:
// it is ErrCorrupt if the header is missing, given twice, empty, or names
// another artifact, and ErrUnsupported if the artifacts are others than those
// that are required.
type HeaderError struct {
	Header    string
	Want, Got string // Want is empty if any text would do
	is        error
}

// Error tells what is wrong.
func (e *HeaderError) Error() string {
	want := "some text, once"
	if e.Want != "" {
		want = fmt.Sprintf("%q", e.Want)
	}
	return fmt.Sprintf("header %s is %.100q, want %s", e.Header, e.Got, want)
}

// Unwrap returns ErrCorrupt or ErrUnsupported.
func (e *HeaderError) Unwrap() error { return e.is }

// check holds the headers of an answer against what they have to be.
func (m Metadata) check(h http.Header, f pipelinecache.Fingerprint) error {
	for _, c := range []struct {
		header, want string
		is           error
	}{
		{FingerprintHeader, f.String(), kvferry.ErrCorrupt},
		{ProvenanceHeader, m.Provenance, kvferry.ErrUnsupported},
		{DeviceHeader, m.Device, kvferry.ErrUnsupported},
	} {
		values := h.Values(c.header)
		if len(values) != 1 || values[0] == "" {
			return &HeaderError{Header: c.header, Want: c.want, Got: strings.Join(values, ", "), is: kvferry.ErrCorrupt}
		}
		if c.want != "" && values[0] != c.want {
			return &HeaderError{Header: c.header, Want: c.want, Got: values[0], is: c.is}
		}
	}
	return nil
}

// maxTextBytes is how long a header that we send or require may be.
const maxTextBytes = 1000

// checkText returns ErrInvalid for what cannot be the value of a header: the
// other side would see another text, or none.
func checkText(what, text string) error {
	hidden := func(r rune) bool { return r < ' ' || r > '~' }
	if len(text) > maxTextBytes || strings.ContainsFunc(text, hidden) || strings.TrimSpace(text) != text {
		return fmt.Errorf("remote: the %s %.100q: want at most %d printable ASCII characters, without spaces around: %w", what, text, maxTextBytes, kvferry.ErrInvalid)
	}
	return nil
}
