#include "textflag.h"

// The kernels for NEON: a group of 64 values is four registers of exponents.
// Bytes are squeezed and spread by eight, with a table of shuffles for each
// mask of eight bits. Names of registers:
//
//	V0-V3 what a window codes   V8-V11 running maxima   V12-V15 starts
//	V20 d   V21 lo   V22 hi   V23 3   V24 bit of each value   V25 1   V26 2
//	R0 values   R1 rests   R2 planes   R3 where what goes on is written or read
//	R13 table of shuffles

// UNZIP16 loads 16 values from R8 on, rotated by a bit: exponents to e, rests to r.
#define UNZIP16(e, r) \
	VLD2.P 32(R8), [V16.B16, V17.B16]; \
	VSHL $1, V17.B16, e; \
	VSRI $7, V16.B16, e; \
	VSHL $1, V16.B16, r; \
	VSRI $7, V17.B16, r

// ZIP16 is the reverse: values of e and r to R8.
#define ZIP16(e, r) \
	VSHL $7, e, V16.B16; \
	VSRI $1, r, V16.B16; \
	VSHL $7, r, V17.B16; \
	VSRI $1, e, V17.B16; \
	VST2.P [V16.B16, V17.B16], 32(R8)

// START moves the starts s behind the maxima m.
#define START(m, s) \
	VUMAX V20.B16, m, s; \
	VSUB V20.B16, s, s; \
	VUMAX V21.B16, s, s; \
	VUMIN V22.B16, s, s

// PLANE gathers the bits of a, b, c, d that t names in r.
#define PLANE(t, a, b, c, d, r) \
	VCMTST t, a, V27.B16; \
	VCMTST t, b, V28.B16; \
	VCMTST t, c, V29.B16; \
	VCMTST t, d, V30.B16; \
	VAND V24.B16, V27.B16, V27.B16; \
	VAND V24.B16, V28.B16, V28.B16; \
	VAND V24.B16, V29.B16, V29.B16; \
	VAND V24.B16, V30.B16, V30.B16; \
	VADDP V28.B16, V27.B16, V27.B16; \
	VADDP V30.B16, V29.B16, V29.B16; \
	VADDP V29.B16, V27.B16, V27.B16; \
	VADDP V27.B16, V27.B16, V27.B16; \
	VMOV V27.D[0], r

// COUNT puts the numbers of bits of the bytes of m into the bytes of r.
#define COUNT(m, r) \
	VMOV m, V27.D[0]; \
	VCNT V27.B8, V27.B8; \
	VMOV V27.D[0], r

// SQUEEZE8 appends those of the first eight bytes of x that the low byte of R9
// names; R10 has their number.
#define SQUEEZE8(x) \
	UBFX $0, R9, $8, R11; \
	FMOVD (R13)(R11<<3), F27; \
	VTBL V27.B8, [x], V27.B8; \
	FMOVD F27, (R3); \
	UBFX $0, R10, $8, R11; \
	ADD R11, R3, R3; \
	LSR $8, R9, R9; \
	LSR $8, R10, R10

#define SQUEEZE16(x) \
	SQUEEZE8(x); \
	VEXT $8, x, x, V28.B16; \
	SQUEEZE8(V28.B16)

#define SQUEEZE(a, b, c, d) \
	COUNT(R9, R10); \
	SQUEEZE16(a); \
	SQUEEZE16(b); \
	SQUEEZE16(c); \
	SQUEEZE16(d)

// SPREAD16 puts the next bytes of R3 where the low bits of R9 are, to V28.
#define SPREAD16 \
	UBFX $0, R9, $8, R11; \
	FMOVD (R13)(R11<<3), F27; \
	VLD1 (R3), [V29.B8]; \
	VTBL V27.B8, [V29.B16], V28.B8; \
	UBFX $0, R10, $8, R11; \
	ADD R11, R3, R3; \
	UBFX $8, R9, $8, R11; \
	FMOVD (R13)(R11<<3), F27; \
	VLD1 (R3), [V29.B8]; \
	VTBL V27.B8, [V29.B16], V29.B8; \
	UBFX $8, R10, $8, R11; \
	ADD R11, R3, R3; \
	LSR $16, R9, R9; \
	LSR $16, R10, R10; \
	VMOV V29.D[0], V28.D[1]

// CODE2 makes codes of two planes, V18 and V19 with eight bytes each, for the
// 16 values whose bytes of planes i names, and spreads what went on, to x.
#define CODE2(i, x) \
	SPREAD16; \
	VTBL i, [V18.B16], V16.B16; \
	VCMTST V24.B16, V16.B16, V16.B16; \
	VTBL i, [V19.B16], V17.B16; \
	VCMTST V24.B16, V17.B16, V17.B16; \
	VAND V16.B16, V17.B16, V27.B16; \
	VAND V25.B16, V16.B16, V16.B16; \
	VAND V26.B16, V17.B16, V17.B16; \
	VORR V16.B16, V17.B16, x; \
	VBIT V27.B16, V28.B16, x

// CODE3 does so for three planes, the third in V31; V30 is 4.
#define CODE3(i, x) \
	SPREAD16; \
	VTBL i, [V18.B16], V16.B16; \
	VCMTST V24.B16, V16.B16, V16.B16; \
	VTBL i, [V19.B16], V17.B16; \
	VCMTST V24.B16, V17.B16, V17.B16; \
	VAND V16.B16, V17.B16, V27.B16; \
	VAND V25.B16, V16.B16, V16.B16; \
	VAND V26.B16, V17.B16, V17.B16; \
	VORR V16.B16, V17.B16, x; \
	VTBL i, [V31.B16], V16.B16; \
	VCMTST V24.B16, V16.B16, V16.B16; \
	VAND V16.B16, V27.B16, V27.B16; \
	VAND V30.B16, V16.B16, V16.B16; \
	VORR V16.B16, x, x; \
	VBIT V27.B16, V28.B16, x

// func encodeNEON(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int
//
// A group is 64 bytes at src and 64 bytes second behind them; the next group is
// step behind it, the next stripe 128 bytes. With across, both halves are of
// the same channels.
TEXT ·encodeNEON(SB), NOSPLIT, $0-88
	MOVD src+0(FP), R0
	MOVD rests+8(FP), R1
	MOVD planes+16(FP), R2
	MOVD out+24(FP), R3
	MOVD groups+32(FP), R4
	MOVD step+40(FP), R5
	MOVD second+48(FP), R6
	MOVD stripes+56(FP), R7
	MOVD p+64(FP), R14
	MOVD across+72(FP), R15
	VDUP R14, V19.B16
	LSR $8, R14, R9
	VDUP R9, V20.B16
	LSR $16, R14, R9
	VDUP R9, V21.B16
	LSR $24, R14, R9
	VDUP R9, V22.B16
	MOVD $·squeezes(SB), R13
	MOVD $·constants(SB), R9
	VLD1 (R9), [V24.B16]
	VMOVI $3, V23.B16
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16

encodeStripe:
	MOVD R0, R12
	MOVD R4, R16
	VMOV V19.B16, V12.B16
	VMOV V19.B16, V13.B16
	VMOV V19.B16, V14.B16
	VMOV V19.B16, V15.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16

encodeGroup:
	MOVD R12, R8
	UNZIP16(V0.B16, V4.B16)
	UNZIP16(V1.B16, V5.B16)
	ADD R6, R12, R8
	UNZIP16(V2.B16, V6.B16)
	UNZIP16(V3.B16, V7.B16)
	VST1.P [V4.B16, V5.B16, V6.B16, V7.B16], 64(R1)
	VUMAX V0.B16, V8.B16, V8.B16
	VUMAX V1.B16, V9.B16, V9.B16
	VUMAX V2.B16, V10.B16, V10.B16
	VUMAX V3.B16, V11.B16, V11.B16
	VSUB V12.B16, V0.B16, V0.B16
	VSUB V13.B16, V1.B16, V1.B16
	VSUB V14.B16, V2.B16, V2.B16
	VSUB V15.B16, V3.B16, V3.B16
	CBZ R15, encodeNext
	VUMAX V10.B16, V8.B16, V8.B16
	VUMAX V11.B16, V9.B16, V9.B16
	VMOV V8.B16, V10.B16
	VMOV V9.B16, V11.B16

encodeNext:
	START(V8.B16, V12.B16)
	START(V9.B16, V13.B16)
	START(V10.B16, V14.B16)
	START(V11.B16, V15.B16)
	VUMIN V23.B16, V0.B16, V4.B16
	VUMIN V23.B16, V1.B16, V5.B16
	VUMIN V23.B16, V2.B16, V6.B16
	VUMIN V23.B16, V3.B16, V7.B16
	PLANE(V25.B16, V4.B16, V5.B16, V6.B16, V7.B16, R9)
	PLANE(V26.B16, V4.B16, V5.B16, V6.B16, V7.B16, R10)
	MOVD.P R9, 8(R2)
	MOVD.P R10, 8(R2)
	AND R10, R9, R9
	SQUEEZE(V0.B16, V1.B16, V2.B16, V3.B16)
	ADD R5, R12, R12
	SUBS $1, R16, R16
	BNE encodeGroup
	ADD $128, R0, R0
	SUBS $1, R7, R7
	BNE encodeStripe
	MOVD out+24(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+80(FP)
	RET

// func decodeNEON(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int
TEXT ·decodeNEON(SB), NOSPLIT, $0-88
	MOVD dst+0(FP), R0
	MOVD rests+8(FP), R1
	MOVD planes+16(FP), R2
	MOVD in+24(FP), R3
	MOVD groups+32(FP), R4
	MOVD step+40(FP), R5
	MOVD second+48(FP), R6
	MOVD stripes+56(FP), R7
	MOVD p+64(FP), R14
	MOVD across+72(FP), R15
	LSR $8, R14, R9
	VDUP R9, V20.B16
	LSR $16, R14, R9
	VDUP R9, V21.B16
	LSR $24, R14, R9
	VDUP R9, V22.B16
	MOVD $·spreads(SB), R13
	MOVD $·constants(SB), R9
	VLD1.P 16(R9), [V24.B16]
	VLD1 (R9), [V4.B16, V5.B16, V6.B16, V7.B16]
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16

decodeStripe:
	MOVD R0, R12
	MOVD R4, R16
	VDUP R14, V12.B16
	VMOV V12.B16, V13.B16
	VMOV V12.B16, V14.B16
	VMOV V12.B16, V15.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16

decodeGroup:
	MOVD (R2), R9
	MOVD 8(R2), R10
	ADD $16, R2, R2
	VMOV R9, V18.D[0]
	VMOV R10, V19.D[0]
	AND R10, R9, R9
	COUNT(R9, R10)
	CODE2(V4.B16, V0.B16)
	CODE2(V5.B16, V1.B16)
	CODE2(V6.B16, V2.B16)
	CODE2(V7.B16, V3.B16)
	VADD V12.B16, V0.B16, V0.B16
	VADD V13.B16, V1.B16, V1.B16
	VADD V14.B16, V2.B16, V2.B16
	VADD V15.B16, V3.B16, V3.B16
	VUMAX V0.B16, V8.B16, V8.B16
	VUMAX V1.B16, V9.B16, V9.B16
	VUMAX V2.B16, V10.B16, V10.B16
	VUMAX V3.B16, V11.B16, V11.B16
	CBZ R15, decodeNext
	VUMAX V10.B16, V8.B16, V8.B16
	VUMAX V11.B16, V9.B16, V9.B16
	VMOV V8.B16, V10.B16
	VMOV V9.B16, V11.B16

decodeNext:
	START(V8.B16, V12.B16)
	START(V9.B16, V13.B16)
	START(V10.B16, V14.B16)
	START(V11.B16, V15.B16)
	VLD1.P 64(R1), [V28.B16, V29.B16, V30.B16, V31.B16]
	MOVD R12, R8
	ZIP16(V0.B16, V28.B16)
	ZIP16(V1.B16, V29.B16)
	ADD R6, R12, R8
	ZIP16(V2.B16, V30.B16)
	ZIP16(V3.B16, V31.B16)
	ADD R5, R12, R12
	SUBS $1, R16, R16
	BNE decodeGroup
	ADD $128, R0, R0
	SUBS $1, R7, R7
	BNE decodeStripe
	MOVD in+24(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+80(FP)
	RET

// HOLE makes 3 where y is not negative, to t. V12 is 0x80.
#define HOLE(y, t) \
	VCMTST V12.B16, y, t; \
	VEOR V13.B16, t, t; \
	VAND V23.B16, t, t

// OUTSIDE closes the hole in y and takes the start of the window, V14, away.
#define OUTSIDE(y) \
	HOLE(y, V27.B16); \
	VSUB V27.B16, y, y; \
	VSUB V14.B16, y, y

// BACK is its reverse.
#define BACK(y) \
	VADD V14.B16, y, y; \
	HOLE(y, V27.B16); \
	VADD V27.B16, y, y

// func encode2NEON(x, planes, out *byte, groups int, start, mask uint64) int
//
// mask says which values of each group there are.
TEXT ·encode2NEON(SB), NOSPLIT, $0-56
	MOVD x+0(FP), R0
	MOVD planes+8(FP), R2
	MOVD out+16(FP), R3
	MOVD groups+24(FP), R4
	MOVD start+32(FP), R9
	MOVD mask+40(FP), R5
	VDUP R9, V14.B16
	MOVD $·squeezes(SB), R13
	MOVD $·constants(SB), R9
	VLD1 (R9), [V24.B16]
	VMOVI $3, V23.B16
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16
	VMOVI $128, V12.B16
	VMOVI $255, V13.B16

encode2Group:
	VLD1.P 64(R0), [V0.B16, V1.B16, V2.B16, V3.B16]
	OUTSIDE(V0.B16)
	OUTSIDE(V1.B16)
	OUTSIDE(V2.B16)
	OUTSIDE(V3.B16)
	VUMIN V23.B16, V0.B16, V4.B16
	VUMIN V23.B16, V1.B16, V5.B16
	VUMIN V23.B16, V2.B16, V6.B16
	VUMIN V23.B16, V3.B16, V7.B16
	PLANE(V25.B16, V4.B16, V5.B16, V6.B16, V7.B16, R9)
	AND R5, R9, R9
	PLANE(V26.B16, V4.B16, V5.B16, V6.B16, V7.B16, R10)
	AND R5, R10, R10
	MOVD.P R9, 8(R2)
	MOVD.P R10, 8(R2)
	AND R10, R9, R9
	SQUEEZE(V0.B16, V1.B16, V2.B16, V3.B16)
	SUBS $1, R4, R4
	BNE encode2Group
	MOVD out+16(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+48(FP)
	RET

// func encode3NEON(x, planes, out *byte, groups int, start, mask uint64) int
TEXT ·encode3NEON(SB), NOSPLIT, $0-56
	MOVD x+0(FP), R0
	MOVD planes+8(FP), R2
	MOVD out+16(FP), R3
	MOVD groups+24(FP), R4
	MOVD start+32(FP), R9
	MOVD mask+40(FP), R5
	VDUP R9, V14.B16
	MOVD $·squeezes(SB), R13
	MOVD $·constants(SB), R9
	VLD1 (R9), [V24.B16]
	VMOVI $3, V23.B16
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16
	VMOVI $4, V15.B16
	VMOVI $7, V16.B16
	VMOVI $128, V12.B16
	VMOVI $255, V13.B16

encode3Group:
	VLD1.P 64(R0), [V0.B16, V1.B16, V2.B16, V3.B16]
	OUTSIDE(V0.B16)
	OUTSIDE(V1.B16)
	OUTSIDE(V2.B16)
	OUTSIDE(V3.B16)
	VUMIN V16.B16, V0.B16, V4.B16
	VUMIN V16.B16, V1.B16, V5.B16
	VUMIN V16.B16, V2.B16, V6.B16
	VUMIN V16.B16, V3.B16, V7.B16
	PLANE(V25.B16, V4.B16, V5.B16, V6.B16, V7.B16, R9)
	AND R5, R9, R9
	PLANE(V26.B16, V4.B16, V5.B16, V6.B16, V7.B16, R10)
	AND R5, R10, R10
	PLANE(V15.B16, V4.B16, V5.B16, V6.B16, V7.B16, R11)
	AND R5, R11, R11
	MOVD.P R9, 8(R2)
	MOVD.P R10, 8(R2)
	MOVD.P R11, 8(R2)
	AND R10, R9, R9
	AND R11, R9, R9
	SQUEEZE(V0.B16, V1.B16, V2.B16, V3.B16)
	SUBS $1, R4, R4
	BNE encode3Group
	MOVD out+16(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+48(FP)
	RET

// func decode2NEON(x, planes, in *byte, groups int, start uint64) int
TEXT ·decode2NEON(SB), NOSPLIT, $0-48
	MOVD x+0(FP), R0
	MOVD planes+8(FP), R2
	MOVD in+16(FP), R3
	MOVD groups+24(FP), R4
	MOVD start+32(FP), R9
	VDUP R9, V14.B16
	MOVD $·spreads(SB), R13
	MOVD $·constants(SB), R9
	VLD1.P 16(R9), [V24.B16]
	VLD1 (R9), [V4.B16, V5.B16, V6.B16, V7.B16]
	VMOVI $3, V23.B16
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16
	VMOVI $128, V12.B16
	VMOVI $255, V13.B16

decode2Group:
	MOVD (R2), R9
	MOVD 8(R2), R10
	ADD $16, R2, R2
	VMOV R9, V18.D[0]
	VMOV R10, V19.D[0]
	AND R10, R9, R9
	COUNT(R9, R10)
	CODE2(V4.B16, V0.B16)
	CODE2(V5.B16, V1.B16)
	CODE2(V6.B16, V2.B16)
	CODE2(V7.B16, V3.B16)
	BACK(V0.B16)
	BACK(V1.B16)
	BACK(V2.B16)
	BACK(V3.B16)
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R0)
	SUBS $1, R4, R4
	BNE decode2Group
	MOVD in+16(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+40(FP)
	RET

// func decode3NEON(x, planes, in *byte, groups int, start uint64) int
TEXT ·decode3NEON(SB), NOSPLIT, $0-48
	MOVD x+0(FP), R0
	MOVD planes+8(FP), R2
	MOVD in+16(FP), R3
	MOVD groups+24(FP), R4
	MOVD start+32(FP), R9
	VDUP R9, V14.B16
	MOVD $·spreads(SB), R13
	MOVD $·constants(SB), R9
	VLD1.P 16(R9), [V24.B16]
	VLD1 (R9), [V4.B16, V5.B16, V6.B16, V7.B16]
	VMOVI $3, V23.B16
	VMOVI $1, V25.B16
	VMOVI $2, V26.B16
	VMOVI $4, V30.B16
	VMOVI $128, V12.B16
	VMOVI $255, V13.B16

decode3Group:
	MOVD (R2), R9
	MOVD 8(R2), R10
	MOVD 16(R2), R11
	ADD $24, R2, R2
	VMOV R9, V18.D[0]
	VMOV R10, V19.D[0]
	VMOV R11, V31.D[0]
	AND R10, R9, R9
	AND R11, R9, R9
	COUNT(R9, R10)
	CODE3(V4.B16, V0.B16)
	CODE3(V5.B16, V1.B16)
	CODE3(V6.B16, V2.B16)
	CODE3(V7.B16, V3.B16)
	BACK(V0.B16)
	BACK(V1.B16)
	BACK(V2.B16)
	BACK(V3.B16)
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R0)
	SUBS $1, R4, R4
	BNE decode3Group
	MOVD in+16(FP), R9
	SUB R9, R3, R3
	MOVD R3, ret+40(FP)
	RET
