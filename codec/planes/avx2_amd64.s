#include "textflag.h"

// The kernels for AVX2: a group of 64 values is two registers of exponents.
// Bytes are squeezed and spread by eight, with a table of shuffles for each
// mask of eight bits. Names of registers:
//
//	Y4, Y5 running maxima   Y6, Y7 starts of windows   Y10 d   Y11 lo   Y12 hi
//	R13 table of shuffles   R8 where what goes on is written or read

// ROTATE turns the words of y left by a bit.
#define ROTATE(y, t) \
	VPSLLW $1, y, t; \
	VPSRLW $15, y, y; \
	VPOR y, t, y

// UNZIP splits the words of a and b: low bytes to t, high ones to a. Y8 has
// ones in the low bytes.
#define UNZIP(a, b, t) \
	VPAND Y8, a, t; \
	VPSRLW $8, a, a; \
	VPAND Y8, b, Y15; \
	VPSRLW $8, b, b; \
	VPACKUSWB Y15, t, t; \
	VPACKUSWB b, a, a; \
	VPERMQ $0xd8, t, t; \
	VPERMQ $0xd8, a, a

// START moves the starts s behind the maxima m.
#define START(m, s) \
	VPSUBUSB Y10, m, s; \
	VPMAXUB Y11, s, s; \
	VPMINUB Y12, s, s

// PLANE gathers bit 7-n of the 64 bytes of a and b in r.
#define PLANE(n, a, b, r) \
	VPSLLW n, a, Y13; \
	VPSLLW n, b, Y14; \
	VPMOVMSKB Y13, r; \
	VPMOVMSKB Y14, R14; \
	SHLQ $32, R14; \
	ORQ R14, r

// SQUEEZE8 appends those of the eight bytes at off(SP) that the low byte of AX
// names, and shifts it out.
#define SQUEEZE8(off) \
	MOVBQZX AX, R14; \
	VMOVQ off(SP), X13; \
	VMOVQ (R13)(R14*8), X14; \
	VPSHUFB X14, X13, X13; \
	VMOVQ X13, (R8); \
	POPCNTQ R14, R14; \
	ADDQ R14, R8; \
	SHRQ $8, AX

// SQUEEZE appends those bytes of a and b that AX names.
#define SQUEEZE(a, b) \
	VMOVDQU a, 0(SP); \
	VMOVDQU b, 32(SP); \
	SQUEEZE8(0); \
	SQUEEZE8(8); \
	SQUEEZE8(16); \
	SQUEEZE8(24); \
	SQUEEZE8(32); \
	SQUEEZE8(40); \
	SQUEEZE8(48); \
	SQUEEZE8(56)

// SPREAD8 puts the next bytes of R8 where the low byte of AX has bits, zeros
// elsewhere, and shifts it out.
#define SPREAD8(x) \
	MOVBQZX AX, R14; \
	VMOVQ (R8), x; \
	VMOVQ (R13)(R14*8), X15; \
	VPSHUFB X15, x, x; \
	POPCNTQ R14, R14; \
	ADDQ R14, R8; \
	SHRQ $8, AX

// SPREAD does so for 32 bytes, to Y13.
#define SPREAD \
	SPREAD8(X13); \
	SPREAD8(X14); \
	VPUNPCKLQDQ X14, X13, X13; \
	SPREAD8(X14); \
	SPREAD8(X0); \
	VPUNPCKLQDQ X0, X14, X14; \
	VINSERTI128 $1, X14, Y13, Y13

// BITS makes bytes of ones where the plane at p has bits: those of the first
// or, by the shuffle at 0 or 32 of R12, the last 32 values. The bit of each
// byte is at 64(R12).
#define BITS(p, shuffle, y) \
	VPBROADCASTQ p, y; \
	VPSHUFB shuffle(R12), y, y; \
	VPAND 64(R12), y, y; \
	VPCMPEQB 64(R12), y, y

// func encodeAVX2(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int
//
// Arguments are those of encodeAVX512.
TEXT ·encodeAVX2(SB), NOSPLIT, $64-88
	MOVQ src+0(FP), SI
	MOVQ rests+8(FP), DI
	MOVQ planes+16(FP), DX
	MOVQ out+24(FP), R8
	MOVQ step+40(FP), R9
	MOVQ second+48(FP), R11
	MOVQ stripes+56(FP), CX
	LEAQ p+64(FP), AX
	VPBROADCASTB 1(AX), Y10
	VPBROADCASTB 2(AX), Y11
	VPBROADCASTB 3(AX), Y12
	LEAQ ·squeezes(SB), R13
	VPCMPEQB Y8, Y8, Y8
	VPSRLW $8, Y8, Y8
	LEAQ ·constants(SB), R12
	VMOVDQU 160(R12), Y9

encodeStripe:
	MOVQ SI, BX
	MOVQ groups+32(FP), R10
	MOVQ p+64(FP), AX
	VMOVQ AX, X6
	VPBROADCASTB X6, Y6
	VMOVDQA Y6, Y7
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5

encodeGroup:
	VMOVDQU (BX), Y0
	VMOVDQU 32(BX), Y1
	VMOVDQU (BX)(R11*1), Y2
	VMOVDQU 32(BX)(R11*1), Y3
	ROTATE(Y0, Y13)
	ROTATE(Y1, Y13)
	ROTATE(Y2, Y13)
	ROTATE(Y3, Y13)
	UNZIP(Y0, Y1, Y13)
	UNZIP(Y2, Y3, Y14)
	VMOVDQU Y13, (DI)
	VMOVDQU Y14, 32(DI)
	VPMAXUB Y0, Y4, Y4
	VPMAXUB Y2, Y5, Y5
	VPSUBB Y6, Y0, Y0
	VPSUBB Y7, Y2, Y2
	CMPQ across+72(FP), $0
	JEQ encodeNext
	VPMAXUB Y5, Y4, Y4
	VMOVDQA Y4, Y5

encodeNext:
	START(Y4, Y6)
	START(Y5, Y7)
	VPMINUB Y9, Y0, Y1
	VPMINUB Y9, Y2, Y3
	PLANE($7, Y1, Y3, AX)
	MOVQ AX, (DX)
	PLANE($6, Y1, Y3, R12)
	MOVQ R12, 8(DX)
	ANDQ R12, AX
	SQUEEZE(Y0, Y2)
	ADDQ R9, BX
	ADDQ $64, DI
	ADDQ $16, DX
	DECQ R10
	JNZ encodeGroup
	ADDQ $128, SI
	DECQ CX
	JNZ encodeStripe
	SUBQ out+24(FP), R8
	MOVQ R8, ret+80(FP)
	VZEROUPPER
	RET

// func decodeAVX2(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int
TEXT ·decodeAVX2(SB), NOSPLIT, $0-88
	MOVQ dst+0(FP), SI
	MOVQ rests+8(FP), DI
	MOVQ planes+16(FP), DX
	MOVQ in+24(FP), R8
	MOVQ step+40(FP), R9
	MOVQ second+48(FP), R11
	MOVQ stripes+56(FP), CX
	LEAQ p+64(FP), AX
	VPBROADCASTB 1(AX), Y10
	VPBROADCASTB 2(AX), Y11
	VPBROADCASTB 3(AX), Y12
	LEAQ ·spreads(SB), R13
	LEAQ ·constants(SB), R12

decodeStripe:
	MOVQ SI, BX
	MOVQ groups+32(FP), R10
	MOVQ p+64(FP), AX
	VMOVQ AX, X6
	VPBROADCASTB X6, Y6
	VMOVDQA Y6, Y7
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5

decodeGroup:
	MOVQ (DX), AX
	ANDQ 8(DX), AX
	BITS((DX), 0, Y1)
	BITS(8(DX), 0, Y2)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPOR Y1, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y8
	BITS((DX), 32, Y1)
	BITS(8(DX), 32, Y2)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPOR Y1, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y9
	VPADDB Y6, Y8, Y8
	VPADDB Y7, Y9, Y9
	VPMAXUB Y8, Y4, Y4
	VPMAXUB Y9, Y5, Y5
	CMPQ across+72(FP), $0
	JEQ decodeNext
	VPMAXUB Y5, Y4, Y4
	VMOVDQA Y4, Y5

decodeNext:
	START(Y4, Y6)
	START(Y5, Y7)
	VPERMQ $0xd8, (DI), Y0
	VPERMQ $0xd8, Y8, Y8
	VPUNPCKLBW Y8, Y0, Y1
	VPUNPCKHBW Y8, Y0, Y2
	VPSRLW $1, Y1, Y3
	VPSLLW $15, Y1, Y1
	VPOR Y1, Y3, Y3
	VMOVDQU Y3, (BX)
	VPSRLW $1, Y2, Y3
	VPSLLW $15, Y2, Y2
	VPOR Y2, Y3, Y3
	VMOVDQU Y3, 32(BX)
	VPERMQ $0xd8, 32(DI), Y0
	VPERMQ $0xd8, Y9, Y9
	VPUNPCKLBW Y9, Y0, Y1
	VPUNPCKHBW Y9, Y0, Y2
	VPSRLW $1, Y1, Y3
	VPSLLW $15, Y1, Y1
	VPOR Y1, Y3, Y3
	VMOVDQU Y3, (BX)(R11*1)
	VPSRLW $1, Y2, Y3
	VPSLLW $15, Y2, Y2
	VPOR Y2, Y3, Y3
	VMOVDQU Y3, 32(BX)(R11*1)
	ADDQ R9, BX
	ADDQ $64, DI
	ADDQ $16, DX
	DECQ R10
	JNZ decodeGroup
	ADDQ $128, SI
	DECQ CX
	JNZ decodeStripe
	SUBQ in+24(FP), R8
	MOVQ R8, ret+80(FP)
	VZEROUPPER
	RET

// OUTSIDE closes the hole in y and takes the start of the window, Y7, away.
#define OUTSIDE(y, t) \
	VPCMPGTB Y6, y, t; \
	VPAND Y9, t, t; \
	VPSUBB t, y, y; \
	VPSUBB Y7, y, y

// func encode2AVX2(x, planes, out *byte, groups int, start, mask uint64) int
TEXT ·encode2AVX2(SB), NOSPLIT, $64-56
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ out+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VMOVQ AX, X7
	VPBROADCASTB X7, Y7
	MOVQ mask+40(FP), R11
	LEAQ ·squeezes(SB), R13
	LEAQ ·constants(SB), R12
	VMOVDQU 160(R12), Y9
	VPXOR Y6, Y6, Y6

encode2Group:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y2
	OUTSIDE(Y0, Y13)
	OUTSIDE(Y2, Y13)
	VPMINUB Y9, Y0, Y1
	VPMINUB Y9, Y2, Y3
	PLANE($7, Y1, Y3, AX)
	ANDQ R11, AX
	MOVQ AX, (DX)
	PLANE($6, Y1, Y3, BX)
	ANDQ R11, BX
	MOVQ BX, 8(DX)
	ANDQ BX, AX
	SQUEEZE(Y0, Y2)
	ADDQ $64, SI
	ADDQ $16, DX
	DECQ CX
	JNZ encode2Group
	SUBQ out+16(FP), R8
	MOVQ R8, ret+48(FP)
	VZEROUPPER
	RET

// func encode3AVX2(x, planes, out *byte, groups int, start, mask uint64) int
TEXT ·encode3AVX2(SB), NOSPLIT, $64-56
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ out+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VMOVQ AX, X7
	VPBROADCASTB X7, Y7
	MOVQ mask+40(FP), R11
	LEAQ ·squeezes(SB), R13
	LEAQ ·constants(SB), R12
	VMOVDQU 160(R12), Y9
	VMOVDQU 192(R12), Y8
	VPXOR Y6, Y6, Y6

encode3Group:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y2
	OUTSIDE(Y0, Y13)
	OUTSIDE(Y2, Y13)
	VPMINUB Y8, Y0, Y1
	VPMINUB Y8, Y2, Y3
	PLANE($7, Y1, Y3, AX)
	ANDQ R11, AX
	MOVQ AX, (DX)
	PLANE($6, Y1, Y3, BX)
	ANDQ R11, BX
	MOVQ BX, 8(DX)
	ANDQ BX, AX
	PLANE($5, Y1, Y3, BX)
	ANDQ R11, BX
	MOVQ BX, 16(DX)
	ANDQ BX, AX
	SQUEEZE(Y0, Y2)
	ADDQ $64, SI
	ADDQ $24, DX
	DECQ CX
	JNZ encode3Group
	SUBQ out+16(FP), R8
	MOVQ R8, ret+48(FP)
	VZEROUPPER
	RET

// BACK adds the start of the window, Y7, to y and opens the hole again.
#define BACK(y, t) \
	VPADDB Y7, y, y; \
	VPCMPGTB Y6, y, t; \
	VPAND Y9, t, t; \
	VPADDB t, y, y

// func decode2AVX2(x, planes, in *byte, groups int, start uint64) int
TEXT ·decode2AVX2(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ in+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VMOVQ AX, X7
	VPBROADCASTB X7, Y7
	LEAQ ·spreads(SB), R13
	LEAQ ·constants(SB), R12
	VMOVDQU 160(R12), Y9
	VPCMPEQB Y6, Y6, Y6

decode2Group:
	MOVQ (DX), AX
	ANDQ 8(DX), AX
	BITS((DX), 0, Y1)
	BITS(8(DX), 0, Y2)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPOR Y1, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y2
	BACK(Y2, Y1)
	VMOVDQU Y2, (SI)
	BITS((DX), 32, Y1)
	BITS(8(DX), 32, Y2)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPOR Y1, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y2
	BACK(Y2, Y1)
	VMOVDQU Y2, 32(SI)
	ADDQ $64, SI
	ADDQ $16, DX
	DECQ CX
	JNZ decode2Group
	SUBQ in+16(FP), R8
	MOVQ R8, ret+40(FP)
	VZEROUPPER
	RET

// func decode3AVX2(x, planes, in *byte, groups int, start uint64) int
TEXT ·decode3AVX2(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ in+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VMOVQ AX, X7
	VPBROADCASTB X7, Y7
	LEAQ ·spreads(SB), R13
	LEAQ ·constants(SB), R12
	VMOVDQU 160(R12), Y9
	VPCMPEQB Y6, Y6, Y6

decode3Group:
	MOVQ (DX), AX
	ANDQ 8(DX), AX
	ANDQ 16(DX), AX
	BITS((DX), 0, Y1)
	BITS(8(DX), 0, Y2)
	BITS(16(DX), 0, Y4)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND Y4, Y3, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPAND 224(R12), Y4, Y4
	VPOR Y1, Y2, Y2
	VPOR Y4, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y2
	BACK(Y2, Y1)
	VMOVDQU Y2, (SI)
	BITS((DX), 32, Y1)
	BITS(8(DX), 32, Y2)
	BITS(16(DX), 32, Y4)
	SPREAD
	VPAND Y1, Y2, Y3
	VPAND Y4, Y3, Y3
	VPAND 96(R12), Y1, Y1
	VPAND 128(R12), Y2, Y2
	VPAND 224(R12), Y4, Y4
	VPOR Y1, Y2, Y2
	VPOR Y4, Y2, Y2
	VPANDN Y2, Y3, Y2
	VPOR Y13, Y2, Y2
	BACK(Y2, Y1)
	VMOVDQU Y2, 32(SI)
	ADDQ $64, SI
	ADDQ $24, DX
	DECQ CX
	JNZ decode3Group
	SUBQ in+16(FP), R8
	MOVQ R8, ret+40(FP)
	VZEROUPPER
	RET
