package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// jsonCommand looks into one JSON document in FILE (also stdout or stderr):
//
//	json FILE PATH == VALUE    equal as text; also != < <= > >= (numbers)
//	json FILE PATH ~ REGEXP    matches
//	json FILE PATH len N       length of a list, an object or a text
//	json FILE PATH keys A,B,…  an object with at least these keys
//	json FILE PATH absent      not there
//	json FILE PATH -> VAR      set VAR to the value
//
// PATH is like .pages[0].parts[1].digest; "." is the document.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "json FILE PATH OP [VALUE]")
	doc, err := oneDocument([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	v, err := find(doc, args[1])
	op, value := args[2], strings.Join(args[3:], " ")
	if op == "absent" {
		if err == nil {
			ts.Fatalf("%s is %v, want nothing there", args[1], text(v))
		}
		return
	}
	ts.Check(err)
	if op == "->" {
		ts.Setenv(value, text(v))
		return
	}
	ok, err := holds(v, op, value)
	ts.Check(err)
	if !ok {
		ts.Fatalf("%s is %.300s, want %s %s", args[1], text(v), op, value)
	}
}

// oneDocument parses data, which must be exactly one JSON document on one line.
func oneDocument(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc, more any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("no JSON document: %w in %.200q", err, data)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something behind the JSON document: %.200q", data)
	}
	return doc, nil
}

func find(v any, path string) (any, error) {
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' }) {
		if i, isIndex := strings.CutSuffix(step, "]"); isIndex {
			list, ok := v.([]any)
			n, err := strconv.Atoi(i)
			if !ok || err != nil || n >= len(list) || n < -len(list) {
				return nil, fmt.Errorf("no %s of %s in %.200s", step, path, text(v))
			}
			v = list[(n+len(list))%len(list)]
			continue
		}
		object, ok := v.(map[string]any)
		x, there := object[step]
		if !ok || !there {
			return nil, fmt.Errorf("no %s of %s in %.200s", step, path, text(v))
		}
		v = x
	}
	return v, nil
}

// text is a string itself and anything else as JSON.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func holds(v any, op, value string) (bool, error) {
	switch op {
	case "==":
		return text(v) == value, nil
	case "!=":
		return text(v) != value, nil
	case "~":
		return regexp.MatchString(value, text(v))
	case "len":
		return strconv.Itoa(length(v)) == value, nil
	case "keys":
		object, ok := v.(map[string]any)
		for k := range strings.SplitSeq(value, ",") {
			_, there := object[k]
			ok = ok && there
		}
		return ok, nil
	}
	a, err := strconv.ParseFloat(text(v), 64)
	if err != nil {
		return false, err
	}
	b, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return false, err
	}
	switch op {
	case "<":
		return a < b, nil
	case "<=":
		return a <= b, nil
	case ">":
		return a > b, nil
	case ">=":
		return a >= b, nil
	}
	return false, fmt.Errorf("unknown operator %q", op)
}

func length(v any) int {
	switch x := v.(type) {
	case []any:
		return len(x)
	case map[string]any:
		return len(x)
	case string:
		return len(x)
	}
	return -1
}

// TestJSONCommand makes sure that the scripts' own tool can say no.
func TestJSONCommand(t *testing.T) {
	t.Parallel()
	_, err := oneDocument([]byte("{} {}"))
	require.Error(t, err)
	_, err = oneDocument([]byte("no"))
	require.Error(t, err)
	doc, err := oneDocument([]byte(`{"a":[1,{"b":"x"}],"n":7}` + "\n"))
	require.NoError(t, err)
	for _, tc := range []struct {
		path, op, value string
		want            bool
	}{
		{".a[1].b", "==", "x", true},
		{".a[-1].b", "==", "y", false},
		{".a[0]", "==", "1", true},
		{".a", "len", "2", true},
		{".a", "len", "3", false},
		{".", "keys", "a,n", true},
		{".", "keys", "a,z", false},
		{".n", ">", "6", true},
		{".n", ">", "7", false},
		{".n", "<=", "7", true},
		{".a[1].b", "~", "^x$", true},
		{".a[1].b", "!=", "x", false},
	} {
		v, err := find(doc, tc.path)
		require.NoError(t, err)
		got, err := holds(v, tc.op, tc.value)
		require.NoError(t, err)
		require.Equal(t, tc.want, got, "%s %s %s", tc.path, tc.op, tc.value)
	}
	for _, path := range []string{".z", ".a[2]", ".a[-3]", ".n.z"} {
		_, err := find(doc, path)
		require.Error(t, err, path)
	}
}
