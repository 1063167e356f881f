package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentedIndexCommands wants that docs/index.md shows commands and flags
// that there are, and a file of engines that can be read.
func TestDocumentedIndexCommands(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/index.md")
	require.NoError(t, err)
	text := strings.ReplaceAll(string(doc), "\\\n", " ")
	lines := regexp.MustCompile(`(?m)^    kvferry (index .*?)(?: {2,}#.*)?$`).FindAllStringSubmatch(text, -1)
	require.GreaterOrEqual(t, len(lines), 10)
	for _, line := range lines {
		root := (&app{console: console{getenv: func(string) string { return "" }}}).root()
		c, rest, err := root.Find(strings.Fields(line[1]))
		require.NoError(t, err, line[1])
		require.NotEqual(t, "index", c.Name(), line[1])
		require.NoError(t, c.ParseFlags(rest), line[1])
		if c.Args != nil {
			require.NoError(t, c.Args(c, c.Flags().Args()), line[1])
		}
	}

	file := filepath.Join(t.TempDir(), "engines.yaml")
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(text)
	require.NotNil(t, example)
	require.NoError(t, os.WriteFile(file, []byte(example[1]), 0o600))
	engines, err := (&indexServing{config: file, engines: []string{"id=c,endpoint=tcp://*:5557,topic=kv,kind=sglang,bytes=2MiB"}}).engineList()
	require.NoError(t, err)
	require.Len(t, engines, 3)
	require.Equal(t, "vllm-a (vllm, tcp://10.0.0.1:5557, replay tcp://10.0.0.1:5657, 2 ranks)", engines[0].String())
	require.Equal(t, "bridged (vllm, over HTTP)", engines[1].String())
	sources, err := engines[0].sources()
	require.NoError(t, err)
	require.Equal(t, "tcp://10.0.0.1:5558", sources[1].Endpoint, "the second rank's")
	require.Equal(t, "tcp://10.0.0.1:5658", sources[1].Replay)
	require.Equal(t, "kv", sources[1].Topic)
	require.False(t, sources[0].Bind)
	require.EqualValues(t, 2<<20, sources[0].BytesPerBlock)
	sources, err = engines[2].sources()
	require.NoError(t, err)
	require.True(t, sources[0].Bind)
}
