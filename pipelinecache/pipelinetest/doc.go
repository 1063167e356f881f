// Package pipelinetest is the suite that every pipelinecache.Store passes. A
// store's own test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		pipelinetest.Run(t, pipelinetest.Config{
//			Open:      func(t testing.TB, s pipelinetest.Setup) pipelinecache.Store { ... },
//			Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Persists},
//		})
//	}
//
// It also reads the recorded operations of vyre-runtime's caches: see [Traces].
package pipelinetest
