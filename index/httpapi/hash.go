package httpapi

import (
	"net/http"
)

// hash turns the token ids of a question into the hashes of its full blocks.
func (q *question) hash() error {
	if q.named&memberTokens == 0 {
		return nil
	}
	return refusal(http.StatusUnprocessableEntity, "invalid", "unknown algorithm %.100q", q.algorithm)
}
