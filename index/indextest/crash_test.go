package indextest

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// crashes are what a crash does to a model, beyond opening it again.
var crashes = map[string]struct {
	harmless bool
	do       func(m *Model)
}{
	"nothing": {harmless: true, do: func(*Model) {}},
	"volatile records are lost": {do: func(m *Model) {
		maps.DeleteFunc(m.records, func(id identity, _ index.Record) bool { return id.tier.Volatile() })
	}},
	"lasting records are lost": {do: func(m *Model) {
		maps.DeleteFunc(m.records, func(id identity, _ index.Record) bool { return !id.tier.Volatile() })
	}},
	"incarnations are lost": {do: func(m *Model) {
		for _, w := range m.workers {
			w.incarnation = 0
		}
	}},
	"all incarnations are one": {do: func(m *Model) {
		for _, w := range m.workers {
			w.incarnation = 77
		}
	}},
	"the volatile are live": {do: func(m *Model) {
		for _, w := range m.workers {
			w.unconfirmed = false
		}
	}},
	"numbers begin anew": {do: func(m *Model) { m.seq = 0 }},
}

// TestCrashMutants: the crash test takes what a crash may leave, and finds what
// it may not.
func TestCrashMutants(t *testing.T) {
	t.Parallel()
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Config{
				Open: func(_ testing.TB, o index.Options) index.Index { return NewModel(o) },
				Crash: func(_ testing.TB, x index.Index, _ index.Options) index.Index {
					m := x.(*Model)
					m.Reopen()
					crash.do(m)
					return m
				},
			}
			found := 0
			for seed := range uint64(4) {
				if crashRun(t, c, index.Options{}, seed) != nil {
					found++
				}
			}
			if crash.harmless {
				require.Zero(t, found)
			} else {
				require.Equal(t, 4, found)
			}
		})
	}
}
