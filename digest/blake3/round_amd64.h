// What the kernels for 16 and for 8 lanes share: the arithmetic of a round and
// the transposition of 4x4 words, for registers of any width.

// HALF is the first half of four quarter rounds: a += m + b;
// d = (d ^ a) >>> r; c += d; b = (b ^ c) >>> s. The second half differs in the
// words of the message, r and s alone. Two of them are one step behind the
// other two, which was the fastest of many orders.
#define HALF(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, m0, m1, m2, m3, r, s) \
	VPADDD m0, a0, a0; VPADDD m1, a1, a1; \
	VPADDD b0, a0, a0; VPADDD b1, a1, a1; VPADDD m2, a2, a2; VPADDD m3, a3, a3; \
	VPXORD a0, d0, d0; VPXORD a1, d1, d1; VPADDD b2, a2, a2; VPADDD b3, a3, a3; \
	VPRORD $r, d0, d0; VPRORD $r, d1, d1; VPXORD a2, d2, d2; VPXORD a3, d3, d3; \
	VPADDD d0, c0, c0; VPADDD d1, c1, c1; VPRORD $r, d2, d2; VPRORD $r, d3, d3; \
	VPXORD c0, b0, b0; VPXORD c1, b1, b1; VPADDD d2, c2, c2; VPADDD d3, c3, c3; \
	VPRORD $s, b0, b0; VPRORD $s, b1, b1; VPXORD c2, b2, b2; VPXORD c3, b3, b3; \
	VPRORD $s, b2, b2; VPRORD $s, b3, b3

// QUAD transposes 4x4 words in each 128 bits of four registers:
// a0 b0 c0 d0, a1 b1 c1 d1, a2 b2 c2 d2, a3 b3 c3 d3.
#define QUAD(a, b, c, d, t0, t1, t2, t3) \
	VPUNPCKLDQ b, a, t0; VPUNPCKHDQ b, a, t1; VPUNPCKLDQ d, c, t2; VPUNPCKHDQ d, c, t3; \
	VPUNPCKLQDQ t2, t0, a; VPUNPCKHQDQ t2, t0, b; VPUNPCKLQDQ t3, t1, c; VPUNPCKHQDQ t3, t1, d
