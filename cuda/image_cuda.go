//go:build cuda

package cuda

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/kvferry/kvferry"
)

// checkImage refuses an image that ends too early: the driver is not told its
// length, and reads as far as the image's own tables say.
func checkImage(image []byte) error {
	if len(image) == 0 {
		return fmt.Errorf("cuda: load a module: the image is empty: %w", kvferry.ErrInvalid)
	}
	// What does not say that it is of the format, the driver knows by its first bytes.
	if !bytes.HasPrefix(image, []byte{elf.ELFMAG[0], elf.ELFMAG[1], elf.ELFMAG[2], elf.ELFMAG[3], byte(elf.ELFCLASS64)}) {
		return nil
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("cuda: load a module: the image is damaged: %w: %w", kvferry.ErrInvalid, err)
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Type != elf.SHT_NULL && (s.Offset > uint64(len(image)) || s.FileSize > uint64(len(image))-s.Offset) {
			return fmt.Errorf("cuda: load a module: the image is damaged: section %s ends after the image: %w", s.Name, kvferry.ErrInvalid)
		}
	}
	return nil
}

// The codes of a compiler that does not know the PTX or the device, or is missing.
const (
	codeNoBinary      = 209
	codeInvalidPTX    = 218
	codePTXVersion    = 222
	maxLogInErrorText = 2000
)

var (
	ptxVersion = regexp.MustCompile(`(?m)^\s*\.version\s+(\d+\.\d+)`)
	ptxTarget  = regexp.MustCompile(`(?m)^\s*\.target\s+(\w+)`)
)

// driverFor says which CUDA version brought a version of PTX.
var driverFor = map[string]string{
	"6.3": "10.0", "6.4": "10.1", "6.5": "10.2",
	"7.0": "11.0", "7.1": "11.1", "7.2": "11.2", "7.3": "11.3", "7.4": "11.4", "7.5": "11.5", "7.6": "11.6", "7.7": "11.7", "7.8": "11.8",
	"8.0": "12.0", "8.1": "12.1", "8.2": "12.2", "8.3": "12.3", "8.4": "12.4", "8.5": "12.5", "8.6": "12.7", "8.7": "12.8", "8.8": "12.9",
	"9.0": "13.0",
}

// linkError says what the compiler's answer means for whoever wanted the kernel.
func linkError(err error, ptx []byte, facts Facts, log string) error {
	if log = strings.TrimSpace(log); len(log) > maxLogInErrorText {
		log = log[:maxLogInErrorText] + " ..."
	}
	version, target := first(ptxVersion, ptx), first(ptxTarget, ptx)
	switch codeIn(err) {
	case codePTXVersion:
		needs := "a newer driver"
		if v := driverFor[version]; v != "" {
			needs = "a driver of CUDA " + v + " or later"
		}
		return fmt.Errorf("cuda: link: PTX of version %s needs %s, this one is of CUDA %s: %w", version, needs, facts.Driver, err)
	case codeNoBinary:
		return fmt.Errorf("cuda: link: PTX for %s does not run on %s of compute capability %d.%d: %w", target, facts.Name, facts.Major, facts.Minor, err)
	case codeInvalidPTX:
		return fmt.Errorf("cuda: link: %w: %s", err, log)
	}
	if log != "" && errors.Is(err, kvferry.ErrInvalid) {
		return fmt.Errorf("cuda: link: %w: %s", err, log)
	}
	return err
}

func first(r *regexp.Regexp, text []byte) string {
	if m := r.FindSubmatch(text[:min(len(text), 4096)]); m != nil {
		return string(m[1])
	}
	return "?"
}
