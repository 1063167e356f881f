// Package events feeds a residency index from the KV events of serving engines.
package events
