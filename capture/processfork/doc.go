// Package processfork reads and writes the manifests of ProcessFork: the page
// manifest of layout paged-batchinvariant-v1 and the image manifest that
// points to one. Both are written byte for byte as pf-cache 1.0.15 writes
// them, because a manifest's SHA-256 is its name.
//
// # Page manifest
//
// One JSON object without white space, broken into lines here:
//
//	{"layout":"paged-batchinvariant-v1",
//	 "page_size_tokens":N,"n_layers":N,"n_heads":N,"head_dim":N,
//	 "dtype":"bf16" | "f16" | "f32" | "fp8e4m3",
//	 "pages":[{"ix":N,"k":"sha256:<64 hex>","v":"sha256:<64 hex>"},…],
//	 "logical_seqs":[{"id":"…","page_ixs":[N,…],"fill_in_last_page":N},…]}
//
// Pages rise by ix, sequences by id, bytewise. A fill of 0 means that the last
// page is full. n_heads counts the key/value heads. In strings '"' and '\' are
// escaped by a backslash, control characters as \b \t \n \f \r or \u00xx with
// lower-case digits; everything else stands as it is.
//
// # Image manifest
//
//	{"schema_version":1,
//	 "media_type":"application/vnd.processfork.image.v1+json",
//	 "agent":{"kind":"…","version":"…","fingerprint":"…"},
//	 "model":{"base":D,"diff":D},
//	 "cache":{"layout":"paged-batchinvariant-v1","manifest":D},
//	 "world":{"fs":D,"env":D,"procs":D},
//	 "effects":{"ledger":D},"trace":{"messages":D},
//	 "created_at":"2026-05-05T14:11:00Z","parents":[D,…]}
//
// D is a digest's text. cache.manifest names the page manifest.
//
// # Reading
//
// Keys come in any order, white space may stand around tokens, and unknown
// keys are ignored; everything else is as strict as the original or stricter.
// Digests are parsed: upper-case digits and other algorithms are refused. A
// page as an array, a dtype as an object and malformed text under an unknown
// key, which the original lets pass by accident, are refused too.
package processfork
