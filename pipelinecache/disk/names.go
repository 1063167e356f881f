package disk

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/kvferry/kvferry/pipelinecache"
)

const (
	artifactSuffix  = ".bin"
	temporarySuffix = ".bin.tmp"
	asideSuffix     = ".bin.corrupt"
	digits          = 2 * pipelinecache.FingerprintBytes
)

// Kind is what the name of a file says that it is.
type Kind uint8

const (
	// Foreign is what is none of the others; it is left alone.
	Foreign Kind = iota
	// Artifact is H.bin.
	Artifact
	// Temporary is .H-R.bin.tmp, or .H.bin.tmp as vyre's packager names it.
	Temporary
	// Aside is .H.bin.corrupt.
	Aside
)

// String returns one word.
func (k Kind) String() string {
	return [...]string{"foreign", "artifact", "temporary", "aside"}[min(k, Aside)]
}

func artifactName(f pipelinecache.Fingerprint) string { return f.String() + artifactSuffix }

func asideName(f pipelinecache.Fingerprint) string { return "." + f.String() + asideSuffix }

// temporaryName is another one each time, in every process.
func temporaryName(f pipelinecache.Fingerprint) string {
	return fmt.Sprintf(".%s-%016x%s", f, rand.Uint64(), temporarySuffix)
}

// parseName tells what a name stands for.
func parseName(name string) (Kind, pipelinecache.Fingerprint) {
	kind, hex := Foreign, ""
	if base, ok := strings.CutSuffix(name, artifactSuffix); ok {
		kind, hex = Artifact, base
	} else if base, ok := hidden(name, asideSuffix); ok {
		kind, hex = Aside, base
	} else if base, ok := hidden(name, temporarySuffix); ok && (len(base) == digits || len(base) > digits && base[digits] == '-') {
		kind, hex = Temporary, base[:digits]
	}
	f, err := pipelinecache.ParseFingerprint(hex)
	if err != nil {
		return Foreign, pipelinecache.Fingerprint{}
	}
	return kind, f
}

func hidden(name, suffix string) (string, bool) {
	base, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(base, ".")
}
