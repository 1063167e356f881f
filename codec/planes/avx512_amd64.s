#include "textflag.h"

// The kernels for AVX-512 with VBMI and VBMI2: a group of 64 values is one
// register of exponents. Names of registers, all of bytes:
//
//	Z3 what a window codes   Z4 its code        Z5 what goes on
//	Z6 starts of windows     Z7 the same, but lo in the first group
//	Z20 hi  Z21 lo  Z22 d  Z24 b0  Z28 2  Z29 1  Z30 3  Z31 start of window 2 or 3
//
// Since starts only ever rise behind the first group, the next one is
// max(start, min(e -sat d, hi)), which takes no maximum of exponents. lo is not
// above hi here: min(lo, hi) means the same.
//
// A segment is walked stripe by stripe, which no processor foresees; so each
// group prefetches 128 bytes of the next segment, one after the other, and of
// what is read or written beside, to the second cache. It does not hurt if
// nothing is there.

// func encodeAVX512(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int
//
// A group is 64 bytes at src and 64 bytes second behind them; the next group is
// step behind it, the next stripe 128 bytes. With across, both halves are of
// the same channels.
TEXT ·encodeAVX512(SB), NOSPLIT, $0-88
	MOVQ src+0(FP), SI
	MOVQ rests+8(FP), DI
	MOVQ planes+16(FP), DX
	MOVQ out+24(FP), R8
	MOVQ groups+32(FP), R13
	MOVQ step+40(FP), R9
	MOVQ second+48(FP), R11
	MOVQ stripes+56(FP), CX
	MOVQ p+64(FP), AX
	MOVQ across+72(FP), R12
	VPBROADCASTB AX, Z24
	SHRQ $8, AX
	VPBROADCASTB AX, Z22
	SHRQ $8, AX
	VPBROADCASTB AX, Z21
	SHRQ $8, AX
	VPBROADCASTB AX, Z20
	VPMINUB Z20, Z21, Z21
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	MOVQ $3, AX
	VPBROADCASTB AX, Z30
	LEAQ ·shuffles(SB), AX
	VMOVDQU64 (AX), Z26
	VMOVDQU64 64(AX), Z25

	MOVQ R13, R14
	IMULQ R9, R14
	CMPQ R14, $4096
	JGE encodeAhead
	MOVQ $4096, R14

encodeAhead:
	ADDQ SI, R14

encodeStripe:
	MOVQ SI, BX
	MOVQ R13, R10
	VMOVDQA64 Z24, Z6
	VMOVDQA64 Z21, Z7

encodeGroup:
	// Rotated by a bit, the low bytes are rests and the high ones exponents.
	VMOVDQU64 (BX), Z0
	VMOVDQU64 (BX)(R11*1), Z1
	VPSHLDW $1, Z0, Z0, Z0
	VPSHLDW $1, Z1, Z1, Z1
	VMOVDQA64 Z26, Z2
	VPERMI2B Z1, Z0, Z2
	VMOVDQA64 Z25, Z3
	VPERMI2B Z1, Z0, Z3
	VMOVDQU64 Z2, (DI)
	VPSUBUSB Z22, Z3, Z8
	VPMINUB Z20, Z8, Z8
	VPMAXUB Z8, Z7, Z7
	VPSUBB Z6, Z3, Z3
	TESTQ R12, R12
	JNZ encodeAcross

encodeNext:
	VMOVDQA64 Z7, Z6
	VPMINUB Z30, Z3, Z4
	VPTESTMB Z29, Z4, K2
	VPTESTMB Z28, Z4, K3
	KANDQ K2, K3, K1
	KMOVQ K2, (DX)
	KMOVQ K3, 8(DX)
	VPCOMPRESSB Z3, K1, Z5
	VMOVDQU64 Z5, (R8)
	KMOVQ K1, AX
	POPCNTQ AX, AX
	ADDQ AX, R8
	PREFETCHT1 (R14)
	PREFETCHT1 64(R14)
	ADDQ $128, R14
	PREFETCHT1 8192(DI)
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

encodeAcross:
	VSHUFI64X2 $0x4e, Z7, Z7, Z8
	VPMAXUB Z8, Z7, Z7
	JMP encodeNext

// func decodeAVX512(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int
TEXT ·decodeAVX512(SB), NOSPLIT, $0-88
	MOVQ dst+0(FP), SI
	MOVQ rests+8(FP), DI
	MOVQ planes+16(FP), DX
	MOVQ in+24(FP), R8
	MOVQ groups+32(FP), R13
	MOVQ step+40(FP), R9
	MOVQ second+48(FP), R11
	MOVQ stripes+56(FP), CX
	MOVQ p+64(FP), AX
	MOVQ across+72(FP), R12
	VPBROADCASTB AX, Z24
	SHRQ $8, AX
	VPBROADCASTB AX, Z22
	SHRQ $8, AX
	VPBROADCASTB AX, Z21
	SHRQ $8, AX
	VPBROADCASTB AX, Z20
	VPMINUB Z20, Z21, Z21
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	LEAQ ·shuffles(SB), AX
	VMOVDQU64 128(AX), Z26
	VMOVDQU64 192(AX), Z25

	MOVQ R13, R14
	IMULQ R9, R14
	CMPQ R14, $4096
	JGE decodeAhead
	MOVQ $4096, R14

decodeAhead:
	ADDQ SI, R14

decodeStripe:
	MOVQ SI, BX
	MOVQ R13, R10
	VMOVDQA64 Z24, Z6
	VMOVDQA64 Z21, Z7

decodeGroup:
	MOVQ (DX), AX
	KMOVQ AX, K2
	ANDQ 8(DX), AX
	KMOVQ 8(DX), K3
	KMOVQ AX, K1
	POPCNTQ AX, AX
	VMOVDQU8.Z Z29, K2, Z3
	VPADDB Z28, Z3, K3, Z3
	VMOVDQU64 (R8), Z5
	VPEXPANDB Z5, K1, Z3
	ADDQ AX, R8
	PREFETCHT1 (R14)
	PREFETCHT1 64(R14)
	ADDQ $128, R14
	PREFETCHT1 6144(DI)
	VPADDB Z6, Z3, Z3
	VPSUBUSB Z22, Z3, Z8
	VPMINUB Z20, Z8, Z8
	VPMAXUB Z8, Z7, Z7
	TESTQ R12, R12
	JNZ decodeAcross

decodeNext:
	VMOVDQA64 Z7, Z6
	VMOVDQU64 (DI), Z0
	VMOVDQA64 Z0, Z1
	VPERMT2B Z3, Z26, Z0
	VPERMT2B Z3, Z25, Z1
	VPSHLDW $15, Z0, Z0, Z0
	VPSHLDW $15, Z1, Z1, Z1
	VMOVDQU64 Z0, (BX)
	VMOVDQU64 Z1, (BX)(R11*1)
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

decodeAcross:
	VSHUFI64X2 $0x4e, Z7, Z7, Z8
	VPMAXUB Z8, Z7, Z7
	JMP decodeNext

// func encode2AVX512(x, planes, out *byte, groups int, start, mask uint64) int
//
// mask says which values of each group there are.
TEXT ·encode2AVX512(SB), NOSPLIT, $0-56
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ out+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VPBROADCASTB AX, Z31
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	MOVQ $3, AX
	VPBROADCASTB AX, Z30
	VPXORQ Z25, Z25, Z25
	MOVQ mask+40(FP), AX
	KMOVQ AX, K7

encode2Group:
	VMOVDQU64 (SI), Z3
	VPCMPGTB Z25, Z3, K5
	VPSUBB Z30, Z3, K5, Z3
	VPSUBB Z31, Z3, Z3
	VPMINUB Z30, Z3, Z4
	VPTESTMB Z29, Z4, K7, K2
	VPTESTMB Z28, Z4, K7, K3
	KANDQ K2, K3, K1
	KMOVQ K2, (DX)
	KMOVQ K3, 8(DX)
	VPCOMPRESSB Z3, K1, Z5
	VMOVDQU64 Z5, (R8)
	KMOVQ K1, AX
	POPCNTQ AX, AX
	ADDQ AX, R8
	ADDQ $64, SI
	ADDQ $16, DX
	DECQ CX
	JNZ encode2Group
	SUBQ out+16(FP), R8
	MOVQ R8, ret+48(FP)
	VZEROUPPER
	RET

// func encode3AVX512(x, planes, out *byte, groups int, start, mask uint64) int
TEXT ·encode3AVX512(SB), NOSPLIT, $0-56
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ out+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ start+32(FP), AX
	VPBROADCASTB AX, Z31
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	MOVQ $3, AX
	VPBROADCASTB AX, Z30
	MOVQ $4, AX
	VPBROADCASTB AX, Z27
	MOVQ $7, AX
	VPBROADCASTB AX, Z26
	VPXORQ Z25, Z25, Z25
	MOVQ mask+40(FP), AX
	KMOVQ AX, K7

encode3Group:
	VMOVDQU64 (SI), Z3
	VPCMPGTB Z25, Z3, K5
	VPSUBB Z30, Z3, K5, Z3
	VPSUBB Z31, Z3, Z3
	VPMINUB Z26, Z3, Z4
	VPTESTMB Z29, Z4, K7, K2
	VPTESTMB Z28, Z4, K7, K3
	VPTESTMB Z27, Z4, K7, K4
	KANDQ K2, K3, K1
	KANDQ K4, K1, K1
	KMOVQ K2, (DX)
	KMOVQ K3, 8(DX)
	KMOVQ K4, 16(DX)
	VPCOMPRESSB Z3, K1, Z5
	VMOVDQU64 Z5, (R8)
	KMOVQ K1, AX
	POPCNTQ AX, AX
	ADDQ AX, R8
	ADDQ $64, SI
	ADDQ $24, DX
	DECQ CX
	JNZ encode3Group
	SUBQ out+16(FP), R8
	MOVQ R8, ret+48(FP)
	VZEROUPPER
	RET

// SPREAD puts the next of what went on in Z3 where the planes in K1 are all set,
// opens the hole and stores; AX has the bits of K1.
#define SPREAD \
	KMOVQ AX, K1; \
	POPCNTQ AX, AX; \
	VMOVDQU64 (R8), Z5; \
	VPEXPANDB Z5, K1, Z3; \
	ADDQ AX, R8; \
	VPADDB Z31, Z3, Z3; \
	VPCMPGTB Z24, Z3, K5; \
	VPADDB Z30, Z3, K5, Z3; \
	VMOVDQU64 Z3, (SI)

// CODES2 makes codes of the planes in AX and BX, and AX what has gone on.
#define CODES2 \
	KMOVQ AX, K2; \
	KMOVQ BX, K3; \
	ANDQ BX, AX; \
	VMOVDQU8.Z Z29, K2, Z3; \
	VPADDB Z28, Z3, K3, Z3

// CODES3 does so with three, one of them in R11.
#define CODES3 \
	CODES2; \
	KMOVQ R11, K4; \
	ANDQ R11, AX; \
	VPADDB Z27, Z3, K4, Z3

// func decode2AVX512(x, planes, in *byte, groups int, start, mask uint64, plane int) int
//
// Behind the groups comes one whose planes are so many bytes each, of which the
// bits of mask count, if mask is not 0. Eight bytes of each plane are read.
TEXT ·decode2AVX512(SB), NOSPLIT, $0-64
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ in+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ mask+40(FP), R9
	MOVQ plane+48(FP), R10
	MOVQ start+32(FP), AX
	VPBROADCASTB AX, Z31
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	MOVQ $3, AX
	VPBROADCASTB AX, Z30
	VPTERNLOGQ $0xff, Z24, Z24, Z24
	TESTQ CX, CX
	JZ decode2Last

decode2Group:
	MOVQ (DX), AX
	MOVQ 8(DX), BX
	CODES2
	SPREAD
	ADDQ $64, SI
	ADDQ $16, DX
	DECQ CX
	JNZ decode2Group

decode2Last:
	TESTQ R9, R9
	JZ decode2Done
	MOVQ (DX), AX
	MOVQ (DX)(R10*1), BX
	ANDQ R9, AX
	ANDQ R9, BX
	CODES2
	SPREAD

decode2Done:
	SUBQ in+16(FP), R8
	MOVQ R8, ret+56(FP)
	VZEROUPPER
	RET

// func decode3AVX512(x, planes, in *byte, groups int, start, mask uint64, plane int) int
TEXT ·decode3AVX512(SB), NOSPLIT, $0-64
	MOVQ x+0(FP), SI
	MOVQ planes+8(FP), DX
	MOVQ in+16(FP), R8
	MOVQ groups+24(FP), CX
	MOVQ mask+40(FP), R9
	MOVQ plane+48(FP), R10
	MOVQ start+32(FP), AX
	VPBROADCASTB AX, Z31
	MOVQ $1, AX
	VPBROADCASTB AX, Z29
	MOVQ $2, AX
	VPBROADCASTB AX, Z28
	MOVQ $3, AX
	VPBROADCASTB AX, Z30
	MOVQ $4, AX
	VPBROADCASTB AX, Z27
	VPTERNLOGQ $0xff, Z24, Z24, Z24
	TESTQ CX, CX
	JZ decode3Last

decode3Group:
	MOVQ (DX), AX
	MOVQ 8(DX), BX
	MOVQ 16(DX), R11
	CODES3
	SPREAD
	ADDQ $64, SI
	ADDQ $24, DX
	DECQ CX
	JNZ decode3Group

decode3Last:
	TESTQ R9, R9
	JZ decode3Done
	MOVQ (DX), AX
	MOVQ (DX)(R10*1), BX
	MOVQ (DX)(R10*2), R11
	ANDQ R9, AX
	ANDQ R9, BX
	ANDQ R9, R11
	CODES3
	SPREAD

decode3Done:
	SUBQ in+16(FP), R8
	MOVQ R8, ret+56(FP)
	VZEROUPPER
	RET

// func left2AVX512(planes *byte, groups int) int
//
// Four groups are a register; swapped in pairs, both planes of a group meet,
// and each is counted twice.
TEXT ·left2AVX512(SB), NOSPLIT, $0-24
	MOVQ planes+0(FP), SI
	MOVQ groups+8(FP), CX
	VPXORQ Z4, Z4, Z4
	VPXORQ Z5, Z5, Z5
	SUBQ $8, CX
	JLT left2Few

left2Eight:
	VMOVDQU64 (SI), Z0
	VMOVDQU64 64(SI), Z1
	VPERMILPD $0x55, Z0, Z2
	VPERMILPD $0x55, Z1, Z3
	VPANDQ Z0, Z2, Z2
	VPANDQ Z1, Z3, Z3
	VPOPCNTQ Z2, Z2
	VPOPCNTQ Z3, Z3
	VPADDQ Z2, Z4, Z4
	VPADDQ Z3, Z5, Z5
	ADDQ $128, SI
	SUBQ $8, CX
	JGE left2Eight

left2Few:
	VPADDQ Z5, Z4, Z4
	VEXTRACTI64X4 $1, Z4, Y5
	VPADDQ Y5, Y4, Y4
	VEXTRACTI128 $1, Y4, X5
	VPADDQ X5, X4, X4
	VMOVQ X4, R8
	ADDQ $8, CX
	JZ left2Done

left2One:
	MOVQ (SI), AX
	ANDQ 8(SI), AX
	POPCNTQ AX, AX
	ADDQ AX, R8
	ADDQ $16, SI
	DECQ CX
	JNZ left2One

left2Done:
	MOVQ R8, ret+16(FP)
	VZEROUPPER
	RET
