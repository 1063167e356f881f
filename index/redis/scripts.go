package redis

import (
	"crypto/sha1" // the name that Redis gives a script
	_ "embed"
	"encoding/hex"
	"strings"
)

// The scripts. Each begins with lua/common.lua.
var (
	//go:embed lua/common.lua
	commonLua string
	//go:embed lua/blocks.lua
	blocksLua string
	//go:embed lua/take.lua
	takeLua string
	//go:embed lua/put.lua
	putLua string
	//go:embed lua/remove.lua
	removeLua string
	//go:embed lua/clear_worker.lua
	clearWorkerLua string
	//go:embed lua/sweep.lua
	sweepLua string
	//go:embed lua/announce.lua
	announceLua string
	//go:embed lua/reap.lua
	reapLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/scan.lua
	scanLua string
	//go:embed lua/read.lua
	readLua string
	//go:embed lua/prefixes.lua
	prefixesLua string
	//go:embed lua/by_hash.lua
	byHashLua string
	//go:embed lua/match.lua
	matchLua string
	//go:embed lua/stats.lua
	statsLua string
	//go:embed lua/workers.lua
	workersLua string
	//go:embed lua/watch.lua
	watchLua string
	//go:embed lua/life.lua
	lifeLua string
	//go:embed lua/live.lua
	liveLua string
	//go:embed lua/scopes.lua
	scopesLua string
	//go:embed lua/count.lua
	countLua string
)

// script is a Lua script as the server knows it.
type script struct {
	text, sha string
	write     bool
}

// allowOOM lets a script run on a server whose memory is full: it frees memory,
// or needs none to speak of, and without it workers would disappear.
const allowOOM = "#!lua flags=allow-oom\n"

func newScript(write bool, parts ...string) *script {
	text := strings.Join(parts, "\n")
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:]), write: write}
}

var (
	putScript         = newScript(true, commonLua, blocksLua, putLua)
	removeScript      = newScript(true, allowOOM+commonLua, blocksLua, takeLua, removeLua)
	clearWorkerScript = newScript(true, allowOOM+commonLua, blocksLua, takeLua, clearWorkerLua)
	sweepScript       = newScript(true, allowOOM+commonLua, blocksLua, takeLua, sweepLua)
	announceScript    = newScript(true, allowOOM+commonLua, blocksLua, takeLua, announceLua)
	reapScript        = newScript(true, allowOOM+commonLua, blocksLua, takeLua, reapLua)
	renewScript       = newScript(true, allowOOM+commonLua, renewLua)
	liveScript        = newScript(true, allowOOM+commonLua, liveLua)
	scopesScript      = newScript(true, commonLua, scopesLua)
	countScript       = newScript(true, allowOOM+commonLua, countLua)

	// It writes, but twice is as good as once: it is sent again like a read.
	watchScript = newScript(false, allowOOM+commonLua, watchLua)

	scanScript     = newScript(false, commonLua, blocksLua, scanLua)
	readScript     = newScript(false, commonLua, blocksLua, readLua)
	matchScript    = newScript(false, commonLua, blocksLua, matchLua)
	prefixesScript = newScript(false, commonLua, blocksLua, prefixesLua)
	byHashScript   = newScript(false, commonLua, blocksLua, byHashLua)
	statsScript    = newScript(false, commonLua, statsLua)
	workersScript  = newScript(false, commonLua, workersLua)
	lifeScript     = newScript(false, commonLua, lifeLua)
)
