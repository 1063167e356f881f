#include "textflag.h"

// The kernels of the level small for AVX-512 with VBMI and VBMI2: 64 channels
// of a row are registers of bytes. Symbols are squeezed to the streams of their
// contexts and spread from them. Names of registers:
//
//	R8 to R11 next symbol of contexts 0 to 3    R12 next escape
//	K5, K6 the words of the 64 that there are   K7 their bytes
//	Z16 to Z19 contexts 0 to 3                  Z20 rise
//	Z21 escape  Z22 bytes of 7f                 Z23 bytes of 80
//	Z25, Z26 shuffles                           Z27 keep  Z28 2  Z29 1

// prelude loads what both kernels have in common.
#define prelude \
	MOVQ mantissas+8(FP), DI \
	MOVQ known+16(FP), R13 \
	MOVQ last+24(FP), R15 \
	MOVQ symbols+32(FP), AX \
	MOVQ next+48(FP), DX \
	MOVQ AX, R8 \
	ADDQ (DX), R8 \
	MOVQ AX, R9 \
	ADDQ 8(DX), R9 \
	MOVQ AX, R10 \
	ADDQ 16(DX), R10 \
	MOVQ AX, R11 \
	ADDQ 24(DX), R11 \
	MOVQ escapes+40(FP), R12 \
	ADDQ 32(DX), R12 \
	MOVQ cols+56(FP), BX \
	MOVQ keep+64(FP), AX \
	VPBROADCASTB AX, Z27 \
	VPXORQ Z16, Z16, Z16 \
	MOVQ $1, AX \
	VPBROADCASTB AX, Z17 \
	VPBROADCASTB AX, Z29 \
	MOVQ $2, AX \
	VPBROADCASTB AX, Z18 \
	VPBROADCASTB AX, Z28 \
	MOVQ $3, AX \
	VPBROADCASTB AX, Z19 \
	MOVQ $4, AX \
	VPBROADCASTB AX, Z20 \
	MOVQ $31, AX \
	VPBROADCASTB AX, Z21 \
	MOVQ $0x7f, AX \
	VPBROADCASTB AX, Z22 \
	MOVQ $0x80, AX \
	VPBROADCASTB AX, Z23 \
	LEAQ ·shuffles(SB), AX

// narrowed makes the masks of the last channels, fewer than 64.
#define narrowed \
	MOVQ BX, CX \
	MOVQ $1, AX \
	SHLQ CX, AX \
	DECQ AX \
	KMOVQ AX, K7 \
	KMOVD AX, K5 \
	SHRQ $32, AX \
	KMOVD AX, K6

// all makes those of 64 channels.
#define all \
	KXNORQ K7, K7, K7 \
	KXNORD K5, K5, K5 \
	KXNORD K6, K6, K6

// remember keeps what is known behind the exponents Z3 and the signs K1. Z5 is
// what was known before.
#define remember \
	VPANDQ Z27, Z5, Z5 \
	VPMAXUB Z3, Z5, Z5 \
	VMOVDQU8 Z5, K7, (R13) \
	VPSUBB Z3, Z5, Z6 \
	VPMINUB Z28, Z6, Z6 \
	VPADDB Z29, Z6, Z6 \
	VPADDB Z23, Z6, K1, Z6 \
	VMOVDQU8 Z6, K7, (R15)

// finish stores where the next symbols are.
#define finish \
	MOVQ symbols+32(FP), AX \
	SUBQ AX, R8 \
	SUBQ AX, R9 \
	SUBQ AX, R10 \
	SUBQ AX, R11 \
	SUBQ escapes+40(FP), R12 \
	MOVQ R8, (DX) \
	MOVQ R9, 8(DX) \
	MOVQ R10, 16(DX) \
	MOVQ R11, 24(DX) \
	MOVQ R12, 32(DX) \
	VZEROUPPER

// squeeze appends the symbols Z8 of one context to its stream.
#define squeeze(context, stream) \
	VPCMPEQB context, Z7, K7, K4 \
	VPCOMPRESSB.Z Z8, K4, Z9 \
	VMOVDQU64 Z9, (stream) \
	KMOVQ K4, AX \
	POPCNTQ AX, AX \
	ADDQ AX, stream

// spread adds the symbols of one context to Z8.
#define spread(context, stream) \
	VPCMPEQB context, Z7, K7, K4 \
	VMOVDQU64 (stream), Z9 \
	VPEXPANDB Z9, K4, Z8 \
	KMOVQ K4, AX \
	POPCNTQ AX, AX \
	ADDQ AX, stream

// func apartAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)
TEXT ·apartAVX512(SB), NOSPLIT, $0-72
	MOVQ words+0(FP), SI
	prelude
	VMOVDQU64 (AX), Z26
	VMOVDQU64 64(AX), Z25
	all

apartGroup:
	CMPQ BX, $64
	JGE apartFull
	TESTQ BX, BX
	JLE apartEnd
	narrowed

apartFull:
	// Rotated by a bit, the low bytes are mantissa and sign, the high ones
	// exponents.
	VMOVDQU16.Z (SI), K5, Z0
	VMOVDQU16.Z 64(SI), K6, Z1
	VPSHLDW $1, Z0, Z0, Z0
	VPSHLDW $1, Z1, Z1, Z1
	VMOVDQA64 Z26, Z2
	VPERMI2B Z1, Z0, Z2
	VMOVDQA64 Z25, Z3
	VPERMI2B Z1, Z0, Z3
	VPTESTMB Z29, Z2, K1
	VPSRLW $1, Z2, Z2
	VPANDQ Z22, Z2, Z2
	VMOVDQU8 Z2, K7, (DI)
	VMOVDQU8.Z (R13), K7, Z5
	VMOVDQU8.Z (R15), K7, Z6
	VPMOVB2M Z6, K2
	KXORQ K1, K2, K2
	VPANDQ Z19, Z6, Z7
	VPSUBB Z3, Z5, Z8
	VPADDB Z20, Z8, Z8
	VPMINUB Z21, Z8, Z8
	VPCMPEQB Z21, Z8, K7, K3
	VPADDB Z8, Z8, Z8
	VPADDB Z29, Z8, K2, Z8
	squeeze(Z16, R8)
	squeeze(Z17, R9)
	squeeze(Z18, R10)
	squeeze(Z19, R11)
	KTESTQ K3, K3
	JNZ apartEscapes

apartOn:
	remember
	ADDQ $128, SI
	ADDQ $64, DI
	ADDQ $64, R13
	ADDQ $64, R15
	SUBQ $64, BX
	JMP apartGroup

apartEscapes:
	VPCOMPRESSB.Z Z3, K3, Z9
	VMOVDQU64 Z9, (R12)
	KMOVQ K3, AX
	POPCNTQ AX, AX
	ADDQ AX, R12
	JMP apartOn

apartEnd:
	finish
	RET

// func togetherAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)
TEXT ·togetherAVX512(SB), NOSPLIT, $0-72
	MOVQ words+0(FP), SI
	prelude
	VMOVDQU64 128(AX), Z26
	VMOVDQU64 192(AX), Z25
	all

togetherGroup:
	CMPQ BX, $64
	JGE togetherFull
	TESTQ BX, BX
	JLE togetherEnd
	narrowed

togetherFull:
	VMOVDQU8.Z (R13), K7, Z5
	VMOVDQU8.Z (R15), K7, Z6
	VMOVDQU8.Z (DI), K7, Z2
	VPMOVB2M Z6, K2
	VPANDQ Z19, Z6, Z7
	VPXORQ Z8, Z8, Z8
	spread(Z16, R8)
	spread(Z17, R9)
	spread(Z18, R10)
	spread(Z19, R11)
	VPTESTMB Z29, Z8, K1
	KXORQ K1, K2, K1
	VPSRLW $1, Z8, Z8
	VPANDQ Z22, Z8, Z8
	VPCMPEQB Z21, Z8, K7, K3
	VPSUBB Z8, Z5, Z3
	VPADDB Z20, Z3, Z3
	KTESTQ K3, K3
	JNZ togetherEscapes

togetherOn:
	VPADDB Z2, Z2, Z2
	VPADDB Z29, Z2, K1, Z2
	VMOVDQA64 Z26, Z0
	VPERMI2B Z3, Z2, Z0
	VMOVDQA64 Z25, Z1
	VPERMI2B Z3, Z2, Z1
	VPSHRDW $1, Z0, Z0, Z0
	VPSHRDW $1, Z1, Z1, Z1
	VMOVDQU16 Z0, K5, (SI)
	VMOVDQU16 Z1, K6, 64(SI)
	remember
	ADDQ $128, SI
	ADDQ $64, DI
	ADDQ $64, R13
	ADDQ $64, R15
	SUBQ $64, BX
	JMP togetherGroup

togetherEscapes:
	VMOVDQU64 (R12), Z9
	VPEXPANDB Z9, K3, Z3
	KMOVQ K3, AX
	POPCNTQ AX, AX
	ADDQ AX, R12
	JMP togetherOn

togetherEnd:
	finish
	RET
