package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

func stages(t *testing.T) []stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile.cuda"))
	require.NoError(t, err)
	all, err := parse(string(text))
	require.NoError(t, err)
	return all
}

// TestStages: everything that only a build needs stays in the stages of it.
func TestStages(t *testing.T) {
	t.Parallel()
	all := stages(t)
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	require.Equal(t, []string{"", "go", "build", ""}, names)
	require.Contains(t, all[0].of("ARG"), "CUDA_VERSION=12.9.1", "releases are built with headers of 12.x")
	require.Contains(t, all[2].base, "nvidia/cuda:${CUDA_VERSION}-devel")
	require.Contains(t, all[3].base, "nvidia/cuda:${CUDA_VERSION}-base", "the toolkit has no place in the image")
	for _, s := range all[1:] {
		require.NotContains(t, s.base, "latest")
	}
}

// TestFinalStage: the image is the command, run by a user who may nothing else.
func TestFinalStage(t *testing.T) {
	t.Parallel()
	all := stages(t)
	final := all[len(all)-1]
	require.Equal(t, []string{
		"--from=build /out/kvferry /usr/local/bin/kvferry",
		"LICENSE NOTICE /usr/share/doc/kvferry/",
	}, final.of("COPY"))
	require.Empty(t, final.of("ADD"))

	users := final.of("USER")
	require.Len(t, users, 1)
	require.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, users[0], "a number, and not root's")
	at := slices.IndexFunc(final.lines, func(i instruction) bool { return i.op == "USER" })
	for _, i := range final.lines[at:] {
		require.NotContains(t, []string{"RUN", "COPY"}, i.op, "%s after USER", i.op)
	}
	for _, i := range final.lines {
		require.NotContains(t, strings.ToLower(i.args), "softcuda")
		require.NotContains(t, i.args, "LD_LIBRARY_PATH", "the container runtime puts the driver where it is found")
		require.NotContains(t, i.args, "NVIDIA_VISIBLE_DEVICES", "which GPUs are seen is said when it is run")
	}
	require.Equal(t, []string{`["/usr/local/bin/kvferry"]`}, final.of("ENTRYPOINT"))
}

// TestBuildStage: the build line is the one that the documentation gives, and
// what it made is judged before it is taken over.
func TestBuildStage(t *testing.T) {
	t.Parallel()
	runs := strings.Join(stages(t)[2].of("RUN"), "\n")
	for _, want := range []string{"-trimpath", "-tags cuda", "-I$PWD/cuda/compat -I$CUDA_INCLUDE", "scripts/check-artefact"} {
		require.Contains(t, runs, want)
	}
	require.Less(t, strings.Index(runs, "go build"), strings.Index(runs, "check-artefact"))
}

// TestContext: a build is sent all that the command is made of, and neither
// tests nor the software driver.
func TestContext(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	ig := newIgnore(string(text))

	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "cuda", "-f",
		`{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}
{{end}}{{range .CgoFiles}}{{$d}}/{{.}}
{{end}}{{range .CFiles}}{{$d}}/{{.}}
{{end}}{{range .HFiles}}{{$d}}/{{.}}
{{end}}{{range .SFiles}}{{$d}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}
{{end}}{{end}}{{end}}`, "./cmd/kvferry")
	list.Dir = root
	list.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := list.Output()
	require.NoError(t, err)
	base, err := filepath.Abs(root)
	require.NoError(t, err)
	files := strings.Fields(string(out))
	require.Greater(t, len(files), 50)
	for _, f := range files {
		rel, err := filepath.Rel(base, f)
		require.NoError(t, err)
		require.False(t, ig.drops(filepath.ToSlash(rel)), "%s is part of the command and kept out of the image's build", rel)
	}
	for _, f := range []string{"internal/softcuda/doc.go", "internal/house/house.go", "capture/basic_test.go", "pager/synthetic/testdata/x", "bench/report/main.go", "bench/peers/README.md", "README.md", ".git/HEAD", ".build/kvferry"} {
		require.True(t, ig.drops(f), f)
	}
	require.False(t, ig.drops("cuda/compat/cuda.h"), "CGO_CFLAGS names it, and no package lists it")
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	ig := newIgnore("# all\n*\n!a\n!b/c\na/d\n**/x_*.go\n!*.md\n")
	for file, dropped := range map[string]bool{
		"a/f": false, "a/g/h.go": false, "a/d": true, "a/d/e": true, "a/g/x_1.go": true,
		"b/f": true, "b/c/f": false, "b/c/x_2.go": true, "c": true, "n.md": false, "a/d/n.md": true,
	} {
		require.Equal(t, dropped, ig.drops(file), file)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	all, err := parse("# a\nARG V=1\nfrom x:${V} AS one\nARG W=2\nENV P=q PATH=/r\nRUN a \\\n# in between\n  && b\nFROM y\nUSER 1\n")
	require.NoError(t, err)
	require.Equal(t, []stage{
		{lines: []instruction{{"ARG", "V=1"}}},
		{"one", "x:${V}", []instruction{{"ARG", "W=2"}, {"ENV", "P=q PATH=/r"}, {"RUN", "a && b"}}},
		{"", "y", []instruction{{"USER", "1"}}},
	}, all)
	require.Equal(t, "set -euo pipefail\nW=${W:-2}\nexport P=q\na && b\n", all[1].script())
	_, err = parse("ARG V\n")
	require.ErrorContains(t, err, "no FROM")
}

// TestRun starts the command as the script does.
func TestRun(t *testing.T) {
	t.Chdir(root)
	var out bytes.Buffer
	require.NoError(t, run([]string{"context"}, strings.NewReader("go.mod\nREADME.md\ncmd/kvferry/main.go\n"), &out))
	require.Equal(t, "go.mod\ncmd/kvferry/main.go\n", out.String())
	out.Reset()
	require.NoError(t, run([]string{"run", "build"}, nil, &out))
	require.Contains(t, out.String(), "go build -trimpath -tags cuda")
	require.ErrorContains(t, run([]string{"run", "nothing"}, nil, &out), `no stage "nothing"`)
	require.ErrorContains(t, run(nil, nil, &out), "usage")
	t.Chdir(t.TempDir())
	require.ErrorIs(t, run([]string{"context"}, nil, &out), fs.ErrNotExist)
	require.ErrorIs(t, run([]string{"run", "build"}, nil, &out), fs.ErrNotExist)
}
