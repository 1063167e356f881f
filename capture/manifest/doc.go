// Package manifest is the model of a snapshot and its native format.
//
// A snapshot is one root document and the chunks that it points to, all of
// them blobs that are addressed by one algorithm: BLAKE3, or keyed BLAKE3 for
// tenants. The pages' parts are further blobs, named by the table chunks.
//
//	root document ──> table chunk 0 … n ──> parts of pages 0 … 1023, …
//	              └─> index chunk 0 … m     (engine indices, a hint)
//
// # Root document
//
// One JSON object in canonical form: exactly the keys below in exactly this
// order, no white space, whole numbers in plain decimal digits, strings
// escaped only where JSON demands it ('"', '\', control characters as \b \t
// \n \f \r or \u00xx with lower-case digits), text in UTF-8. Other spellings
// of the same content are refused, so a snapshot has one digest. Broken into
// lines here:
//
//	{"format":"kvferry.snapshot.v1",
//	 "identity":{"model":"…","weights":"…","tokenizer":"…",
//	             "adapter":null | "…","tenant":"…","rank":N,"world":N},
//	 "groups":[
//	  {"name":"…",
//	   "page_tokens":N,"layers":N,"kv_heads":N,"head_dim":N,"dtype":"bf16",
//	   "parts":[{"kind":"k","bytes":N,"form":"layer.token.head.dim"},…],
//	   "fingerprint":"blake3:…",            of the geometry, package pager
//	   "pages":N,
//	   "algorithm":"blake3",                of the parts' digests
//	   "chunk_pages":1024,
//	   "table":["blake3:…",…],              digests of the table chunks
//	   "indices":null | ["blake3:…",…],     digests of the index chunks
//	   "sequences":[
//	    {"id":"…","pages":[[first,count],…],"fill":N},…]},…]}
//
// Groups have distinct names. Sequences rise by id, bytewise. Their pages are
// runs of consecutive page numbers, each as long as it can be. A fill of 0
// means that the last page is full. World 0 and 1 are different spellings that
// are kept as they are.
//
// # Table chunk
//
//	offset  bytes
//	     0      4  magic "KVPT"
//	     4      1  version, 1
//	     5      1  algorithm of the digests: 1 blake3, 2 blake3-keyed, 3 sha256
//	     6      2  parts of a page, little-endian
//	     8      4  pages in this chunk, little-endian
//	    12      4  zero
//	    16      …  pages x parts x 32: the sums by page, then by part
//
// Every chunk but a group's last holds 1024 pages, so that snapshots which
// agree in a run of pages share its chunk.
//
// # Index chunk
//
//	offset  bytes
//	     0      4  magic "KVPI"
//	     4      1  version, 1
//	     5      3  zero
//	     8      4  pages in this chunk, little-endian
//	    12      4  zero
//	    16      …  pages x 4: the engine's index of each page, little-endian
//
// Every chunk but a group's last holds 16384 pages.
package manifest
