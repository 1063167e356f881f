package redis

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/kvferry/kvferry/index"
)

// scopeID is how the server knows a scope.
type scopeID struct {
	index.Scope        // as the rules have it
	digest      string // its place in the names of keys
	group       string // the same of the scopes that differ in the adapter alone
	stored      string // group, then the scope itself
}

const (
	digestBytes = 24
	digestLen   = digestBytes / 3 * 4
)

func digestOf(b []byte) string {
	sum := blake3.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:digestBytes])
}

func appendField(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// appendScope appends model, tokenizer, tenant and adapter, which is last so that
// the group is a digest of what precedes it.
func appendScope(dst []byte, s *index.Scope) (all []byte, group int) {
	dst = appendField(appendField(appendField(dst, s.Model), s.Tokenizer), s.Tenant)
	group = len(dst)
	if name, ok := s.Adapter.Name(); ok {
		return appendField(append(dst, 1), name), group
	}
	return append(dst, 0), group
}

func newScopeID(s index.Scope) *scopeID {
	b, group := appendScope(nil, &s)
	id := &scopeID{digest: digestOf(b), group: digestOf(b[:group])}
	id.stored = id.group + string(b)
	id.Scope, _ = parseScope(id.stored) // holds nothing of the caller's
	return id
}

// parseScope reads a scope as it is stored.
func parseScope(stored string) (index.Scope, error) {
	var s index.Scope
	ok := len(stored) >= digestLen
	if ok {
		stored = stored[digestLen:]
		for _, f := range []*string{&s.Model, &s.Tokenizer, &s.Tenant} {
			*f, stored, ok = cutField(stored, ok)
		}
	}
	switch {
	case !ok || stored == "" || stored[0] > 1 || stored[0] == 0 && len(stored) > 1:
		return index.Scope{}, corrupt("read", "stored scope")
	case stored[0] == 1:
		name, rest, ok := cutField(stored[1:], true)
		if !ok || rest != "" {
			return index.Scope{}, corrupt("read", "stored scope")
		}
		s.Adapter = index.Named(name)
	}
	return s, nil
}

func cutField(s string, ok bool) (field, rest string, _ bool) {
	if !ok || len(s) < 4 {
		return "", "", false
	}
	n := uint64(binary.BigEndian.Uint32([]byte(s[:4])))
	if n > index.MaxFieldBytes || n > uint64(len(s)-4) {
		return "", "", false
	}
	return s[4 : 4+n], s[4+n:], true
}

// scopeOf returns the name of a stored scope, which has to be below that digest.
func scopeOf(stored, digest string) (*scopeID, error) {
	s, err := parseScope(stored)
	if err != nil {
		return nil, err
	}
	id := newScopeID(s)
	if id.stored != stored || digest != "" && id.digest != digest {
		return nil, corrupt("read", "scope below another's digest")
	}
	return id, nil
}

// cachedScopes is how many scopes an Index remembers the digests of.
const cachedScopes = 4096

// scopeCache saves the hashing.
type scopeCache struct {
	mu  sync.RWMutex
	ids map[index.Scope]*scopeID // guarded by mu
}

// scope returns the name of a scope.
func (x *Index) scope(s *index.Scope) *scopeID {
	n := x.o.Rules.Scope(*s)
	c := &x.scopes
	c.mu.RLock()
	id := c.ids[n]
	c.mu.RUnlock()
	if id != nil {
		return id
	}
	id = newScopeID(n)
	if len(id.stored) > 64<<10 { // not worth the memory
		return id
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil || len(c.ids) >= cachedScopes {
		c.ids = map[index.Scope]*scopeID{}
	}
	c.ids[id.Scope] = id
	return id
}

// checkScope returns ErrInvalid for a scope that no record can have. Readers find
// nothing in such a scope.
func checkScope(s *index.Scope) error {
	r := index.Record{Key: index.Key{Scope: *s}, Tier: index.HBM}
	return r.Check()
}

// knownCache remembers what a cluster was told of scopes and workers a moment ago.
// It is told again now and then: a server that took over may lack it.
type knownCache struct {
	mu   sync.Mutex
	seen map[string]time.Time // guarded by mu: scope digest and worker
}

const (
	cachedKnown = 1 << 16
	knownFor    = 10 * time.Second
)

func (c *knownCache) has(digest, worker string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.seen[digest+worker]
	return ok && time.Since(at) < knownFor
}

func (c *knownCache) add(digest, worker string) {
	if len(worker) > 4<<10 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= cachedKnown {
		c.seen = map[string]time.Time{}
	}
	c.seen[digest+worker] = time.Now()
}
