package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events"
)

// engineConfig is an engine whose events a server takes: by subscription if it has
// an endpoint, else over HTTP.
type engineConfig struct {
	ID                string `yaml:"id"`
	Kind              string `yaml:"kind"`                // vllm (if empty) or sglang; others only over HTTP
	Endpoint          string `yaml:"endpoint"`            // where it publishes: tcp://host:port
	Bind              bool   `yaml:"bind"`                // it connects to the endpoint, which is ours; so it is if there is a * in it
	ReplayEndpoint    string `yaml:"replay_endpoint"`     // where it repeats what was missed
	Topic             string `yaml:"topic"`               // what its topics begin with
	Ranks             int    `yaml:"ranks"`               // data-parallel ranks, each at the next port; 0 is 1
	WorkersFromTopics bool   `yaml:"workers_from_topics"` // topics are kv@worker@model, of several engines
	Model             string `yaml:"model_id"`
	Tokenizer         string `yaml:"tokenizer_id"`
	Tenant            string `yaml:"tenant_id"`
	BytesPerBlock     uint64 `yaml:"bytes_per_block"`
	Role              string `yaml:"role"` // this and the rest is only shown by /v1/state
	BaseURL           string `yaml:"base_url"`
	LocalityDomain    string `yaml:"locality_domain"`
}

// serverConfig is the file of index serve.
type serverConfig struct {
	Engines []engineConfig `yaml:"engines"`
}

// maxRanks bounds what a typing error can start.
const maxRanks = 1024

// readServerConfig reads a file in YAML or JSON.
func readServerConfig(path string) (out serverConfig, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return out, fmt.Errorf("--config: %w: %w", err, kvferry.ErrNotFound)
	}
	if err != nil {
		return out, fmt.Errorf("--config: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	d := yaml.NewDecoder(io.LimitReader(f, 16<<20))
	d.KnownFields(true)
	if err := d.Decode(&out); err != nil && !errors.Is(err, io.EOF) {
		return out, usage(fmt.Errorf("--config %s: %w", path, err))
	}
	if err := d.Decode(new(serverConfig)); !errors.Is(err, io.EOF) {
		return out, usage(fmt.Errorf("--config %s: more than one document", path))
	}
	return out, nil
}

// parseEngine reads id=vllm-a,endpoint=tcp://host:5557,….
func parseEngine(spec string) (e engineConfig, err error) {
	texts := map[string]*string{
		"id": &e.ID, "kind": &e.Kind, "endpoint": &e.Endpoint, "replay": &e.ReplayEndpoint, "topic": &e.Topic,
		"model": &e.Model, "tokenizer": &e.Tokenizer, "tenant": &e.Tenant,
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(spec, ",") {
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok || seen[name]:
			return e, fmt.Errorf("--engine %.200q: want NAME=VALUE,… with each name once, not %.100q", spec, part)
		case texts[name] != nil:
			*texts[name] = value
		case name == "ranks":
			e.Ranks, err = strconv.Atoi(value)
		case name == "bind":
			e.Bind, err = strconv.ParseBool(value)
		case name == "bytes":
			var n byteSize
			err = n.Set(value)
			e.BytesPerBlock = uint64(n)
		default:
			return e, fmt.Errorf("--engine %.200q: unknown name %.100q", spec, name)
		}
		if err != nil {
			return e, fmt.Errorf("--engine %.200q: %s: %w", spec, name, err)
		}
		seen[name] = true
	}
	return e, nil
}

// engineKinds are the kinds as people write and as documents have them.
var engineKinds = map[string]string{"": "Vllm", "vllm": "Vllm", "sglang": "Sglang", "lmcache": "Lmcache", "mock": "Mock"}

// check completes an engine, and returns what is wrong with it.
func (e *engineConfig) check() error {
	kind, known := engineKinds[strings.ToLower(e.Kind)]
	switch {
	case e.ID == "":
		return errors.New("an engine without an id")
	case !known:
		return fmt.Errorf("engine %s: kind %q is not one of vllm, sglang, lmcache, mock", e.ID, e.Kind)
	case e.Ranks < 0 || e.Ranks > maxRanks:
		return fmt.Errorf("engine %s: %d ranks, want 1 to %d", e.ID, e.Ranks, maxRanks)
	case e.Ranks > 1 && e.WorkersFromTopics:
		return fmt.Errorf("engine %s: ranks and workers_from_topics do not go together", e.ID)
	case e.Endpoint == "" && (e.Bind || e.WorkersFromTopics || e.ReplayEndpoint != "" || e.Topic != "" || e.Ranks > 0):
		return fmt.Errorf("engine %s: replay, topic and ranks are of an endpoint, and there is none", e.ID)
	case e.Endpoint != "" && kind != "Vllm" && kind != "Sglang":
		return fmt.Errorf("engine %s: only vllm and sglang publish what can be subscribed to", e.ID)
	}
	if err := events.CheckName(e.ID); err != nil {
		return err
	}
	e.Kind, e.Ranks = kind, max(e.Ranks, 1)
	sources, err := e.sources()
	if err != nil {
		return fmt.Errorf("engine %s: %w", e.ID, err)
	}
	published := map[string]bool{}
	for i := range sources {
		published[sources[i].Endpoint] = true
	}
	for i := range sources {
		if published[sources[i].Replay] {
			return fmt.Errorf("engine %s: %s is where one rank publishes and another repeats; keep the ports of ranks apart", e.ID, sources[i].Replay)
		}
	}
	if e.Role == "" {
		e.Role = "Aggregated"
	}
	return nil
}

// engines returns all engines of a command line, complete and with different ids.
func (s *indexServing) engineList() (out []engineConfig, err error) {
	if s.config != "" {
		c, err := readServerConfig(s.config)
		if err != nil {
			return nil, err
		}
		out = c.Engines
	}
	for _, spec := range s.engines {
		e, err := parseEngine(spec)
		if err != nil {
			return nil, usage(err)
		}
		out = append(out, e)
	}
	seen := map[string]bool{}
	for i := range out {
		if err := out[i].check(); err != nil {
			return nil, usage(err)
		}
		if seen[out[i].ID] {
			return nil, usage(fmt.Errorf("two engines with the id %s", out[i].ID))
		}
		seen[out[i].ID] = true
	}
	return out, nil
}

// endpoint is the engine for batches over HTTP and for /v1/state.
func (e *engineConfig) endpoint() events.Endpoint {
	return events.Endpoint{
		ID: e.ID, Kind: e.Kind, Role: e.Role, BaseURL: e.BaseURL, Model: e.Model, Tokenizer: e.Tokenizer, Tenant: e.Tenant, LocalityDomain: e.LocalityDomain,
		Subscribed: e.Endpoint != "",
	}
}

// String says where an engine's events come from.
func (e *engineConfig) String() string {
	kind := strings.ToLower(e.Kind)
	if e.Endpoint == "" {
		return fmt.Sprintf("%s (%s, over HTTP)", e.ID, kind)
	}
	out := fmt.Sprintf("%s (%s, %s", e.ID, kind, e.Endpoint)
	if e.ReplayEndpoint != "" {
		out += ", replay " + e.ReplayEndpoint
	}
	if e.Ranks > 1 {
		out += fmt.Sprintf(", %d ranks", e.Ranks)
	}
	return out + ")"
}
