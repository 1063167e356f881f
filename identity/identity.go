// Package identity says whose pages a KV cache holds.
//
// A page may be reused only where everything that shaped its bytes is equal:
// the model and its weights, the tokenizer, the adapter, the tenant, and the
// place of the rank in its world. The element type and the canonical layout
// belong to it too; they travel with each KV group as the fingerprint of its
// canonical form (see package pager).
package identity

// Identity is what must be equal for a page to be reused. Empty strings are
// values like any other; the zero Identity means "not stated".
type Identity struct {
	Model     string `json:"model,omitempty"`     // model name or path
	Weights   string `json:"weights,omitempty"`   // revision or digest of the weights
	Tokenizer string `json:"tokenizer,omitempty"` // revision or digest of the tokenizer
	// Adapter names the adapter in use; nil means none, which is not the same
	// as an adapter whose name is empty.
	Adapter *string `json:"adapter,omitempty"`
	Tenant  string  `json:"tenant,omitempty"` // empty: shared by all
	Rank    uint32  `json:"rank"`             // index of this rank in its world
	World   uint32  `json:"world"`            // number of ranks; 0 and 1 both mean one
}

// Stated reports whether anything at all is known about the identity. Rank 0 of
// a world of one is nothing to speak of.
func (i Identity) Stated() bool {
	if i.World == 1 {
		i.World = 0
	}
	return i != (Identity{})
}

// Mismatch returns the name of the first field in which i and o differ, or ""
// if they are equal.
func (i Identity) Mismatch(o Identity) string {
	switch {
	case i.Model != o.Model:
		return "model"
	case i.Weights != o.Weights:
		return "weights"
	case i.Tokenizer != o.Tokenizer:
		return "tokenizer"
	case (i.Adapter == nil) != (o.Adapter == nil), i.Adapter != nil && *i.Adapter != *o.Adapter:
		return "adapter"
	case i.Tenant != o.Tenant:
		return "tenant"
	case i.Rank != o.Rank:
		return "rank"
	case max(i.World, 1) != max(o.World, 1):
		return "world"
	}
	return ""
}
