// Package layered puts caches of artifacts over one another, the fastest first.
//
// A get asks the layers in order and puts what it finds into those above, the
// very bytes, without a copy: a promotion. A put goes to the first layer alone;
// the others may keep an older artifact for the fingerprint.
//
// A layer that fails is passed over. If no layer has the artifact, the error is
// ErrNotFound, or what those layers said whose answer was not a plain miss.
//
// The first layer is asked by each get itself; the layers below are asked for a
// fingerprint by one get at a time, and those that come meanwhile wait for its
// answer. Each waits as long as its own context allows, and if the one that asks
// is cancelled, another takes over. A promotion never replaces in the first
// layer what a put has brought there since the artifact below was asked for.
//
// Metrics sums what the layers count, so one request can be several lookups.
// Report counts requests.
package layered
