//go:build cuda

package softcuda

import "fmt"

// Mine reports whether this process takes point i >= 0 of a sweep, such as the
// driver call that is to fail. SOFTCUDA_SHARE=K/N, K = 1 ... N, leaves it every
// Nth one, so that N processes take all of them together. Without it, it takes
// each.
func Mine(i int) bool {
	k, n := 1, 1
	if s := environment("SOFTCUDA_SHARE"); s != "" {
		if _, err := fmt.Sscanf(s, "%d/%d", &k, &n); err != nil || k < 1 || k > n || s != fmt.Sprintf("%d/%d", k, n) {
			panic("softcuda: SOFTCUDA_SHARE=" + s + " is not K/N, K = 1 ... N")
		}
	}
	return i%n == k-1
}
