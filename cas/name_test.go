package cas_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	hex63 := strings.Repeat("a", 63)
	for _, name := range []string{
		"a", "Z", "0", "latest", "run-7", "a.b", "a..b", "a_b", "v1.2.3-rc_4", "a-", "a.",
		hex63, hex63 + "g", hex63 + "A", hex63 + "aa",
		strings.Repeat("x", cas.MaxNameBytes),
	} {
		require.NoError(t, cas.CheckName(name), "%q", name)
	}
	for _, name := range []string{
		"", ".", "..", ".a", "-a", "_a", "a/b", "/a", "../a", "a/../b", `a\b`, "a b", " a", "a ", "a\n", "a\x00",
		"a:b", "a*", "a?", "~a", "$a", "é", "aé", "a\xff", "日本",
		strings.Repeat("0", 64), strings.Repeat("a", 64), hex63 + "9",
		strings.Repeat("x", cas.MaxNameBytes+1),
	} {
		require.ErrorIs(t, cas.CheckName(name), kvferry.ErrInvalid, "%q", name)
	}
}

var (
	nameForm   = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z`)
	digestForm = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
)

// FuzzCheckName compares with the rule written as regular expressions.
func FuzzCheckName(f *testing.F) {
	f.Add("latest")
	f.Fuzz(func(t *testing.T, name string) {
		want := nameForm.MatchString(name) && !digestForm.MatchString(name)
		if got := cas.CheckName(name) == nil; got != want {
			t.Fatalf("CheckName(%q) is fine: %t, should be %t", name, got, want)
		}
	})
}
