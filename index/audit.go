package index

import "context"

// Audit counts what of a prompt a scope may reuse.
type Audit struct {
	Safe    int // hashes with a record that the scope may use
	Refused int // hashes with records of other scopes only
	// Kinds counts the refused ones by why. Of several records the least severe
	// violation counts: the one that comes last in the order of Violation.
	Kinds [CrossTenant + 1]int
}

// AuditReuse looks every hash of a prompt up in all scopes.
func AuditReuse(ctx context.Context, x Reader, s *Scope, hashes []string) (Audit, error) {
	panic("not written yet")
}
