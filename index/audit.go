package index

import (
	"context"
	"fmt"
)

// Audit counts what of a prompt a scope may reuse.
type Audit struct {
	Safe    int // hashes with a record that the scope may use
	Refused int // hashes with records of other scopes only
	// Kinds counts the refused ones by why. Of several records the least severe
	// violation counts: the one that comes last in the order of Violation.
	Kinds [CrossTenant + 1]int
}

// AuditReuse looks every hash of a prompt up in all scopes, where a record has it
// under whatever prefix. Stale records are not looked at.
func AuditReuse(ctx context.Context, x Reader, s *Scope, hashes []string) (Audit, error) {
	var a Audit
	var rs []Record
	for _, hash := range hashes {
		var err error
		if rs, err = x.ByHash(ctx, hash, rs[:0]); err != nil {
			return Audit{}, fmt.Errorf("index: audit of a hash: %w", err)
		}
		switch v, found := leastViolation(s, rs); {
		case !found:
		case v == NoViolation:
			a.Safe++
		default:
			a.Refused++
			a.Kinds[v]++
		}
	}
	return a, nil
}

// leastViolation returns the least severe violation of the records' scopes, and
// whether there are records at all.
func leastViolation(s *Scope, rs []Record) (Violation, bool) {
	least := NoViolation
	for i := range rs {
		v := s.Violation(&rs[i].Scope)
		if v == NoViolation {
			return NoViolation, true
		}
		least = max(least, v)
	}
	return least, len(rs) > 0
}
