// Package pipelinetest holds the suite that every pipelinecache.Store passes.
package pipelinetest
