// Package cashelp hides a drawer behind another name.
package cashelp
