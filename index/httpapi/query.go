package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/kvferry/kvferry/index"
)

// The parameters that name a scope. The adapter's may be missing: none.
var scopeParameters = []string{"model_id", "tokenizer_id", "adapter_id", "tenant_id"}

// parameters are those of a URL, each at most once and none that is not known:
// what is misspelt must not widen a question.
type parameters url.Values

func parametersOf(r *http.Request, known ...string) (parameters, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refusal(http.StatusBadRequest, "invalid", "parameters: %v", err)
	}
	for name, v := range values {
		if !slices.Contains(known, name) && !slices.Contains(scopeParameters, name) {
			return nil, refusal(http.StatusBadRequest, "invalid", "unknown parameter %.100q", name)
		}
		if len(v) > 1 {
			return nil, refusal(http.StatusBadRequest, "invalid", "parameter %s is there %d times", name, len(v))
		}
	}
	return parameters(values), nil
}

// text returns a parameter that must be there.
func (p parameters) text(name string) (string, error) {
	if v := p[name]; v != nil {
		return v[0], nil
	}
	return "", refusal(http.StatusBadRequest, "invalid", "parameter %s is missing; it may be empty", name)
}

// number returns a parameter that is a number of plain digits, up to limit.
func (p parameters) number(name string, bits int) (uint64, error) {
	s, err := p.text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, refusal(http.StatusBadRequest, "invalid", "parameter %s: %.100q is no number from 0 to 2^%d-1", name, s, bits)
	}
	return n, nil
}

// optional returns a number, or 0 if it is not there.
func (p parameters) optional(name string, bits int) (uint64, error) {
	if p[name] == nil {
		return 0, nil
	}
	return p.number(name, bits)
}

// flag returns a parameter that is true or false.
func (p parameters) flag(name string, otherwise bool) (bool, error) {
	switch v := p[name]; {
	case v == nil:
		return otherwise, nil
	case v[0] == "true" || v[0] == "false":
		return v[0] == "true", nil
	}
	return false, refusal(http.StatusBadRequest, "invalid", "parameter %s: want true or false", name)
}

// scope returns the scope that a question names.
func (p parameters) scope() (s index.Scope, err error) {
	if s.Model, err = p.text("model_id"); err != nil {
		return s, err
	}
	if s.Tokenizer, err = p.text("tokenizer_id"); err != nil {
		return s, err
	}
	if s.Tenant, err = p.text("tenant_id"); err != nil {
		return s, err
	}
	if v := p["adapter_id"]; v != nil {
		s.Adapter = index.Named(v[0])
	}
	return s, nil
}

// maybeScope returns the scope that is named, or nil if no part of one is.
func (p parameters) maybeScope() (*index.Scope, error) {
	if !slices.ContainsFunc(scopeParameters, func(name string) bool { return p[name] != nil }) {
		return nil, nil
	}
	s, err := p.scope()
	return &s, err
}
