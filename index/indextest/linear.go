package indextest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// The clients use few records, so that they meet: in each scope two hashes on two
// workers, under one prefix.
const (
	linearScopes = 3
	linearSlots  = 4
)

// slots are the records of a scope by what their Bytes are; 0: not there.
type slots [linearSlots]uint64

// linearCall is one call of a client.
type linearCall struct {
	scope int    // -1: in all of them
	kind  opKind // put, remove, clear, locate or scan
	slots []int  // put, removed, or what locate looks for
	value uint64 // put
}

// linearResult is what it returned.
type linearResult struct {
	n    int
	seen slots
}

// Linearizable lets clients put, remove, read and clear in parallel, and has
// porcupine look for an order in which each call did at once, some time between
// its beginning and end, what it returned. A Put of several records of one prefix
// is one step. KVFERRY_SOAK=1 looks at more histories.
func Linearizable(t *testing.T, c Config) {
	rounds := 5
	if soaking() {
		rounds = 200
	}
	for i := range rounds {
		seed := runSeed(t, uint64(i))
		x := c.Open(t, index.Options{})
		history := linearHistory(t, x, seed)
		require.NoError(t, x.Close())
		for scope := range linearScopes {
			part := slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
				s := o.Input.(linearCall).scope
				return s != scope && s >= 0
			})
			if !porcupine.CheckOperations(linearModel(), part) {
				require.Fail(t, "not linearizable", "seed %d, scope %d:\n%s", seed, scope, listedHistory(part))
			}
		}
	}
}

// linearModel is what one client alone would see in one scope.
func linearModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return slots{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(slots), input.(linearCall), output.(linearResult)
			switch in.kind {
			case opPut:
				for _, i := range in.slots {
					s[i] = in.value
				}
			case opRemove:
				n := 0
				for _, i := range in.slots {
					if s[i] != 0 {
						n++
					}
					s[i] = 0
				}
				return n == out.n, s
			case opClear:
				s = slots{}
			default:
				var seen slots
				for _, i := range in.slots {
					seen[i] = s[i]
				}
				return seen == out.seen, s
			}
			return true, s
		},
	}
}

func linearRecord(scope, slot int, value uint64) index.Record {
	r := block(index.Root, fmt.Sprint("h", slot/2), fmt.Sprint("w", slot%2), index.LocalSSD)
	r.Tenant, r.Bytes = fmt.Sprint("tenant-", scope), value
	return r
}

// linearHistory runs the clients.
func linearHistory(t *testing.T, x index.Index, seed uint64) []porcupine.Operation {
	const clients, calls = 4, 60
	var mu sync.Mutex
	var history []porcupine.Operation
	begin := time.Now()
	errs := make(chan error, clients)
	for client := range clients {
		go func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range calls {
				in := randomCall(random, uint64(1+client*calls+i))
				called := time.Since(begin)
				out, err := in.make(t.Context(), x)
				returned := time.Since(begin)
				if err != nil {
					errs <- fmt.Errorf("%+v: %w", in, err)
					return
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: called.Nanoseconds(), Return: returned.Nanoseconds()})
				mu.Unlock()
			}
			errs <- nil
		}()
	}
	for range clients {
		require.NoError(t, <-errs)
	}
	return history
}

func randomCall(random *rand.Rand, value uint64) linearCall {
	in := linearCall{scope: random.IntN(linearScopes), value: value}
	slot := random.IntN(linearSlots)
	switch n := random.IntN(100); {
	case n < 25:
		in.kind, in.slots = opPut, []int{slot}
	case n < 35:
		in.kind, in.slots = opPut, []int{slot, (slot + 1 + random.IntN(linearSlots-1)) % linearSlots}
	case n < 58:
		in.kind, in.slots = opRemove, []int{slot}
	case n < 60:
		in.kind, in.scope = opClear, -1
	case n < 80:
		in.kind, in.slots = opLocate, []int{slot &^ 1, slot | 1}
	default:
		in.kind, in.slots = opScan, []int{0, 1, 2, 3}
	}
	return in
}

// make makes the call.
func (in linearCall) make(ctx context.Context, x index.Index) (linearResult, error) {
	var out linearResult
	var rs []index.Record
	var err error
	switch in.kind {
	case opPut:
		for _, i := range in.slots {
			rs = append(rs, linearRecord(in.scope, i, in.value))
		}
		return out, x.Put(ctx, rs)
	case opRemove:
		r := linearRecord(in.scope, in.slots[0], 0)
		out.n, err = x.Remove(ctx, []index.Removal{removalOf(&r)})
		return out, err
	case opClear:
		return out, x.Clear(ctx)
	case opLocate:
		r := linearRecord(in.scope, in.slots[0], 0)
		rs, err = x.Locate(ctx, &r.Key, nil)
	default:
		r := linearRecord(in.scope, 0, 0)
		rs, err = x.Scan(ctx, &r.Scope, r.Prefix, nil)
	}
	for i := range rs {
		slot := int(rs[i].Hash[1]-'0')*2 + int(rs[i].Worker[1]-'0')
		if rs[i] != linearRecord(in.scope, slot, rs[i].Bytes) {
			return out, fmt.Errorf("nobody put %+v", rs[i])
		}
		out.seen[slot] = rs[i].Bytes
	}
	return out, err
}

func listedHistory(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range history {
		fmt.Fprintf(&b, "  client %d, %d to %d ns: %+v gave %+v\n", o.ClientId, o.Call, o.Return, o.Input, o.Output)
	}
	return b.String()
}
