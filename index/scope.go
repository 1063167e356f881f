package index

import (
	"cmp"
	"strings"
)

// Adapter is the name of a LoRA adapter, or none, which is not the same as an
// adapter without a name. The zero Adapter is none.
type Adapter struct {
	name  string
	named bool
}

// Named returns the adapter of that name.
func Named(name string) Adapter { return Adapter{name, true} }

// Name returns the adapter's name, and whether there is an adapter at all.
func (a Adapter) Name() (string, bool) { return a.name, a.named }

// String returns the name in quotation marks, or "none".
func (a Adapter) String() string {
	if !a.named {
		return "none"
	}
	return `"` + a.name + `"`
}

// Compare orders adapters: none is before all others.
func (a Adapter) Compare(b Adapter) int {
	if a.named != b.named {
		if b.named {
			return -1
		}
		return 1
	}
	return strings.Compare(a.name, b.name)
}

// Scope is whose blocks may stand in for one another: all fields are equal.
// It is comparable.
type Scope struct {
	Model, Tokenizer string
	Adapter          Adapter
	Tenant           string
}

// Compare orders scopes field by field.
func (s *Scope) Compare(o *Scope) int {
	return cmp.Or(strings.Compare(s.Model, o.Model), strings.Compare(s.Tokenizer, o.Tokenizer),
		s.Adapter.Compare(o.Adapter), strings.Compare(s.Tenant, o.Tenant))
}

// Violation is why a block may not be reused.
type Violation uint8

// The violations; the first difference in this order counts. All but CrossTenant
// would give wrong results, that one would give a tenant's data away.
const (
	NoViolation    Violation = 0
	CrossModel     Violation = 1
	CrossTokenizer Violation = 2
	CrossAdapter   Violation = 3
	CrossTenant    Violation = 4
)

// String returns cross_model, cross_tokenizer, cross_adapter or cross_tenant;
// "" for none.
func (v Violation) String() string {
	return [...]string{"", "cross_model", "cross_tokenizer", "cross_adapter", "cross_tenant"}[v]
}

// Violation returns why blocks of o may not be used in s.
func (s *Scope) Violation(o *Scope) Violation {
	switch {
	case s.Model != o.Model:
		return CrossModel
	case s.Tokenizer != o.Tokenizer:
		return CrossTokenizer
	case s.Adapter != o.Adapter:
		return CrossAdapter
	case s.Tenant != o.Tenant:
		return CrossTenant
	}
	return NoViolation
}
