package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pass = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: noise\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p","Elapsed":0.1}
`
	skip = `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: no device\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
`
	fail = `{"Action":"output","Package":"q","Test":"TestC","Output":"    c_test.go:1: wrong\n"}
{"Action":"fail","Package":"q","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.1s\n"}
{"Action":"fail","Package":"q","Elapsed":0.1}
`
	crash = `{"Action":"output","Package":"s","Test":"TestD","Output":"SIGQUIT: quit\n"}
{"Action":"output","Package":"s","Output":"FAIL\ts\t9s\n"}
{"Action":"fail","Package":"s","Elapsed":9}
`
	broken = `{"ImportPath":"r","Action":"build-output","Output":"r/r.go:3:1: syntax error\n"}
{"Action":"output","Package":"r","Output":"FAIL\tr [build failed]\n"}
{"Action":"fail","Package":"r","Elapsed":0,"FailedBuild":"r"}
`
)

func TestRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "0 passed, 0 failed, 0 skipped\n"},
		{"pass", pass, "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n"},
		{"skip", skip, "p:     b_test.go:1: no device\n0 passed, 0 failed, 1 skipped\n"},
		{"fail", pass + fail, "ok  \tp\t0.1s\nq:     c_test.go:1: wrong\nFAIL\tq\t0.1s\n1 passed, 1 failed, 0 skipped\n"},
		{"broken", broken, "r/r.go:3:1: syntax error\nFAIL\tr [build failed]\n0 passed, 1 failed, 0 skipped\n"},
		{"fail and broken", fail + broken, "q:     c_test.go:1: wrong\nFAIL\tq\t0.1s\nr/r.go:3:1: syntax error\nFAIL\tr [build failed]\n0 passed, 2 failed, 0 skipped\n"},
		{"crash fails", crash, "FAIL\ts\t9s\ns: SIGQUIT: quit\n0 passed, 1 failed, 0 skipped\n"},
		{"words of make", "make: hello\n{broken\n", "make: hello\n{broken\n0 passed, 0 failed, 0 skipped\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w strings.Builder
			file := filepath.Join(t.TempDir(), "a", "totals")
			ok, err := run(strings.NewReader(tt.in), &w, file)
			require.NoError(t, err)
			require.Equal(t, !strings.Contains(tt.name, "fail") && tt.name != "broken", ok)
			require.Equal(t, tt.want, w.String())
			last, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(tt.want, string(last)))
		})
	}
}
