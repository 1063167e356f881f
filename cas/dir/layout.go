//go:build unix

package dir

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry/digest"
)

// Directories and files below the root.
const (
	blobsDir      = "blobs"
	imagesDir     = "images"
	snapshotsDir  = "snapshots"
	namesDir      = "names"
	sessionsDir   = "sessions"
	quarantineDir = "quarantine"
	droppedDir    = "dropped"
	locksDir      = "locks"
	versionFile   = "kvferry.json"

	gateLock    = locksDir + "/gate"
	turnLock    = locksDir + "/turn"
	collectLock = locksDir + "/collect"
	catalogLock = locksDir + "/catalog"

	frameSuffix = ".kvf"
	zstdSuffix  = ".zst"
	tempPrefix  = ".kvf-"
	shards      = 256
)

// algDir returns the directory of the blobs of algorithm a.
func algDir(a digest.Algorithm) string { return blobsDir + "/" + a.String() }

func shardDir(a digest.Algorithm, shard byte) string {
	return algDir(a) + "/" + hex.EncodeToString([]byte{shard})
}

func shardOf(d digest.Digest) byte { s := d.Sum(); return s[0] }

func suffix(a digest.Algorithm) string {
	if a == digest.SHA256 {
		return zstdSuffix
	}
	return frameSuffix
}

// blobPath returns where the blob d lies.
func blobPath(d digest.Digest) string {
	return shardDir(d.Algorithm(), shardOf(d)) + "/" + d.Hex() + suffix(d.Algorithm())
}

// blobOf reads the name of a blob in the given shard. Names that a blob of
// that shard cannot have are not ok.
func blobOf(a digest.Algorithm, shard byte, name string) (digest.Digest, bool) {
	text, ok := strings.CutSuffix(name, suffix(a))
	if !ok {
		return digest.Digest{}, false
	}
	d, err := digest.ParseHex(a, text)
	return d, err == nil && shardOf(d) == shard
}

// flatName is a digest as a file name outside blobs/.
func flatName(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Hex() }

func parseFlatName(name string) (digest.Digest, error) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return digest.Parse(name) // has no colon, so it is ErrInvalid
	}
	return digest.Parse(name[:i] + ":" + name[i+1:])
}

// newID returns 16 random hexadecimal digits.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func validID(s string) bool { return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == "" }

// tempName is the name of a file that is not finished: ".kvf-", the id of the
// session or store that writes it, "-", a number. It begins with a dot, which
// neither a blob nor a snapshot nor a name does.
func tempName(id string, n int64) string {
	return tempPrefix + id + "-" + strconv.FormatInt(n, 16)
}

// tempBlobPath is where the blob d waits until it is durable: a temporary name
// followed by "." and the digest.
func tempBlobPath(d digest.Digest, id string, n int64) string {
	return shardDir(d.Algorithm(), shardOf(d)) + "/" + tempName(id, n) + "." + d.Hex()
}

// tempOwner reads the name of one of our temporary files. The digest's digits
// are empty unless it is that of a blob.
func tempOwner(name string) (id, digits string, ok bool) {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	if !ok {
		return "", "", false
	}
	rest, digits, _ = strings.Cut(rest, ".")
	id, n, ok := strings.Cut(rest, "-")
	if _, err := strconv.ParseUint(n, 16, 63); err != nil {
		return "", "", false
	}
	return id, digits, ok && validID(id)
}

// foreignTemp tells whether name is a temporary file of the original:
// <64 hex>.tmp.<pid>.<n>.
func foreignTemp(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != 4 || parts[1] != "tmp" {
		return false
	}
	if _, err := digest.ParseHex(digest.SHA256, parts[0]); err != nil {
		return false
	}
	for _, p := range parts[2:] {
		if _, err := strconv.ParseUint(p, 10, 64); err != nil {
			return false
		}
	}
	return true
}

// imageOf reads the name of an image marker, <64 hex>.json. The original also
// takes upper-case digits, so these are markers too; they name the blob in
// lower case.
func imageOf(name string) (digest.Digest, bool) {
	text, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return digest.Digest{}, false
	}
	d, err := digest.ParseHex(digest.SHA256, strings.ToLower(text))
	return d, err == nil
}

// eachShard calls do for every shard of every algorithm, in order.
func eachShard(do func(a digest.Algorithm, shard byte) error) error {
	for a := digest.BLAKE3; a.Valid(); a++ {
		for i := range shards {
			if err := do(a, byte(i)); err != nil {
				return fmt.Errorf("dir: shard %s: %w", shardDir(a, byte(i)), err)
			}
		}
	}
	return nil
}
