package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

func TestLeftoversAreNoDamage(t *testing.T) {
	t.Parallel()
	gone := fmt.Errorf("its session: %w", kvferry.ErrNotFound)
	c := checkupOf(capture.CheckReport{Leftovers: []cas.Problem{{Path: "x.tmp", Err: gone, Leftover: true}}})
	require.True(t, c.OK)
	require.Empty(t, c.Bad)
	require.Equal(t, []fault{{Path: "x.tmp", Error: gone.Error()}}, c.Leftovers)
	var b strings.Builder
	require.NoError(t, c.write(&b))
	require.Contains(t, b.String(), "leftover: x.tmp: its session")
	require.Contains(t, b.String(), "1 leftover of ended processes")
	require.Contains(t, b.String(), "; 0 faults\n")
}

func TestCheckNamesTheWorstCause(t *testing.T) {
	t.Parallel()
	bad := func(errs ...error) (r capture.CheckReport) {
		for _, err := range errs {
			r.Bad = append(r.Bad, cas.Problem{Err: err})
		}
		return r
	}
	for name, tc := range map[string]struct {
		report capture.CheckReport
		want   error
	}{
		"newer":          {bad(kvferry.ErrUnsupported), kvferry.ErrUnsupported},
		"damaged":        {bad(kvferry.ErrCorrupt), kvferry.ErrCorrupt},
		"both":           {bad(kvferry.ErrUnsupported, kvferry.ErrCorrupt), kvferry.ErrCorrupt},
		"both in one":    {bad(errors.Join(kvferry.ErrUnsupported, kvferry.ErrCorrupt)), kvferry.ErrCorrupt},
		"gone":           {bad(kvferry.ErrNotFound, kvferry.ErrUnsupported), kvferry.ErrCorrupt},
		"unreadable":     {bad(errors.New("input/output error")), kvferry.ErrCorrupt},
		"newer manifest": {capture.CheckReport{Snapshots: []capture.SnapshotHealth{{Err: kvferry.ErrUnsupported}}}, kvferry.ErrUnsupported},
		"lost manifest":  {capture.CheckReport{Snapshots: []capture.SnapshotHealth{{Err: kvferry.ErrNotFound}}}, kvferry.ErrCorrupt},
		"lost page":      {capture.CheckReport{Snapshots: []capture.SnapshotHealth{{Losses: make([]capture.Loss, 1)}}}, kvferry.ErrCorrupt},
		"lost and newer": {capture.CheckReport{Snapshots: []capture.SnapshotHealth{{Losses: make([]capture.Loss, 1)}, {Err: kvferry.ErrUnsupported}}}, kvferry.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := checkupOf(tc.report)
			require.False(t, c.OK)
			require.ErrorIs(t, c.cause, tc.want)
		})
	}
}

func TestATenantsSnapshotIsNotCalledDamaged(t *testing.T) {
	t.Parallel()
	c := checkupOf(capture.CheckReport{Snapshots: []capture.SnapshotHealth{{Unchecked: true}}})
	require.True(t, c.OK)
	var b strings.Builder
	require.NoError(t, c.write(&b))
	require.Contains(t, b.String(), "not checked, its tenant's key is needed")
}
