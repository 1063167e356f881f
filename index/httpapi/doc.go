// Package httpapi serves a residency index over HTTP, for routers, engines and
// operators.
//
//	POST /v1/kv-events   a batch of an engine's events as a JSON document
//	POST /v1/match       how much of a prompt each worker holds
//	GET  /v1/locate      the records of one block
//	GET  /v1/scan        the records behind one parent
//	GET  /v1/state       engines, counts, workers and all records
//	GET  /v1/watch       the changes, as they happen
//	GET  /healthz        whether the index answers; needs no token
//	GET  /metrics        for Prometheus
//
// Match, locate and scan answer for one scope, which the request has to name: a
// model, a tokenizer and a tenant, each of which may be empty but not missing,
// and an adapter or none. State and watch tell of all scopes, or of one if it is
// named. Who may ask is decided by a token (see Options); there is one for all
// routes, so who has it sees every tenant.
//
// # Requests
//
// Documents are read strictly: keys match exactly, unknown and repeated ones are
// refused, and so are unknown parameters. Bodies, their number and the time that
// one takes are bounded.
//
//	POST /v1/match
//	{"scope":{"model_id":"M","tokenizer_id":"T","adapter_id":null,"tenant_id":"x"},
//	 "hashes":["h0","h1"],         the prompt's blocks, from its first
//	 "kv_group":0, "workers":["w0"]}                                  optional
//
// In place of hashes, the prompt itself as token ids, which are hashed as the
// engine does it (see Prompt):
//
//	 "token_ids":[1,2,3], "block_size":16, "algorithm":"sha256",
//	 "hash_form":"int", "seed":"0"                                    optional
//
//	{"blocks":2,"matches":[{"worker_id":"w0","blocks":2,"tiers":{"hbm":2}}]}
//
//	GET /v1/locate?model_id=M&tokenizer_id=T&tenant_id=x&prefix_hash=root&block_hash=h0&block_index=0
//	GET /v1/scan?model_id=M&tokenizer_id=T&tenant_id=x&prefix_hash=root
//	{"records":[...]}              in the form of index.Record's JSON
//
//	GET /v1/state?residency=false  all but the records
//	GET /v1/watch?after=17
//
// answers with one JSON document a line (see AppendChange), or with server-sent
// events if the request accepts text/event-stream; then Last-Event-ID stands for
// after. What cannot go on says so in its last line, {"error":{...}}.
//
// # Errors
//
// {"error":{"message":"...","type":"invalid"}}; the types are the words of the
// command line. A document that is no JSON is 400, one of another shape 422, one
// that is not called JSON 415; in the answers of /v1/kv-events, as in those of the
// system whose route it is, these have plain text, and an unknown engine is 502.
package httpapi
