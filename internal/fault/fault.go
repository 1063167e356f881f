// Package fault injects errors into operations that are counted, so that a
// test can fail operation 0, 1, 2, … of a scenario until it runs clean.
package fault

import "sync"

// Injector counts the operations that it is asked about and fails those that
// were chosen. It is safe for concurrent use. Its zero value counts only.
type Injector struct {
	mu    sync.Mutex
	count int
	at    map[int]error
	fired []string
	match func(op, path string) bool
}

// Fail makes operation k, counted from 0 since the last Reset, fail with err.
func (i *Injector) Fail(k int, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at == nil {
		i.at = make(map[int]error)
	}
	i.at[k] = err
}

// Only restricts counting and failing to the operations that match accepts;
// nil means all.
func (i *Injector) Only(match func(op, path string) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.match = match
}

// Reset forgets counts, chosen failures and what fired.
func (i *Injector) Reset() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count, i.at, i.fired = 0, nil, nil
}

// Hook counts one operation and returns its error if it was chosen to fail,
// else nil. It has the signature that stores take as their fault option.
func (i *Injector) Hook(op, path string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.match != nil && !i.match(op, path) {
		return nil
	}
	k := i.count
	i.count++
	err := i.at[k]
	if err != nil {
		i.fired = append(i.fired, op+" "+path)
	}
	return err
}

// Count returns the number of operations since the last Reset.
func (i *Injector) Count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}

// Fired returns the operations that failed, in order, as "op path".
func (i *Injector) Fired() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.fired...)
}
