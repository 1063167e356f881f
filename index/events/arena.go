package events

import "unsafe"

// arena makes many short strings with few allocations. Bytes that became a string
// are never written again; a chunk lives as long as one of its strings.
type arena struct{ chunk []byte }

const arenaBytes = 64 << 10

// text returns the text of a key.
func (a *arena) text(k *key) string {
	need := max(2*len(k.b), len(k.text))
	if cap(a.chunk)-len(a.chunk) < need {
		a.chunk = make([]byte, 0, max(arenaBytes, need))
	}
	at := len(a.chunk)
	a.chunk = k.appendText(a.chunk)
	return unsafe.String(unsafe.SliceData(a.chunk[at:]), len(a.chunk)-at)
}
