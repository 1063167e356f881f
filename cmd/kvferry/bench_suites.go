package main

import (
	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/bench/blocks"
	"github.com/kvferry/kvferry/bench/caches"
	"github.com/kvferry/kvferry/bench/captures"
	"github.com/kvferry/kvferry/bench/codecs"
	"github.com/kvferry/kvferry/bench/copies"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/hashes"
	"github.com/kvferry/kvferry/bench/index"
	"github.com/kvferry/kvferry/bench/store"
	"github.com/kvferry/kvferry/bench/traces"
)

// suites are what bench all measures, in this order. Each is a command of its
// own, too: that of suiteCommand, unless ownBenchCommands has one of its name.
func suites() []harness.Suite {
	return []harness.Suite{
		store.Suite(),
		captures.Capture(),
		captures.Restore(),
		codecs.Suite(),
		hashes.Suite(),
		copies.Suite(),
		index.Suite(),
		caches.Suite(),
		blocks.Suite(),
		traces.Suite(),
	}
}

// ownBenchCommands are those with flags or arguments of their own. Such a
// command can take a suite's flags as well: see suiteRun.add.
func (a *app) ownBenchCommands() []*cobra.Command {
	return []*cobra.Command{
		a.benchStoreCommand(), a.benchCachesCommand(), a.benchCodecCommand(), a.benchCopyCommand(), a.benchIndexCommand(),
	}
}
