// Package plugin is SQLite's page-cache contract over the memory of a pagecache.
package plugin
