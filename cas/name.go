package cas

import (
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
)

// MaxNameBytes is the greatest length of a snapshot's name.
const MaxNameBytes = 128

// CheckName returns ErrInvalid unless name can name a snapshot: 1 to
// MaxNameBytes of letters, digits, '.', '_', '-', beginning with a letter or
// digit, and not 64 hexadecimal digits, which would read as a digest. (Names are file
// names in some stores, so nothing that could leave a directory is allowed.)
func CheckName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("cas: name %.140q %s: %w", name, why, kvferry.ErrInvalid)
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > MaxNameBytes:
		return bad(fmt.Sprintf("is longer than %d bytes", MaxNameBytes))
	case !alnum(name[0]):
		return bad("does not begin with a letter or digit")
	}
	for i := range len(name) {
		if c := name[i]; !alnum(c) && !strings.ContainsRune("._-", rune(c)) {
			return bad("has characters other than letters, digits, '.', '_', '-'")
		}
	}
	if len(name) == 64 && strings.Trim(name, "0123456789abcdef") == "" {
		return bad("reads as a digest")
	}
	return nil
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
