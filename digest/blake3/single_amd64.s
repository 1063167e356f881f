#include "textflag.h"

// The kernel for AVX-512 with one lane: the state is X0 to X3, a row of it in
// each. Only the row that a step ends with is waited for, so the other three
// are turned for the diagonals.

// HALF is the first half of four quarter rounds, or the second.
#define HALF(m, r, s) \
	VPADDD m, X0, X0; VPADDD X1, X0, X0; VPXORD X0, X3, X3; VPRORD $r, X3, X3; \
	VPADDD X3, X2, X2; VPXORD X2, X1, X1; VPRORD $s, X1, X1

// ROUND is a round; the words of the message are taken from Z4 by index.
#define ROUND(index) \
	VPERMD Z4, index, Z5; \
	VEXTRACTI32X4 $1, Z5, X6; VEXTRACTI32X4 $2, Z5, X7; VEXTRACTI32X4 $3, Z5, X8; \
	HALF(X5, 16, 12); HALF(X6, 8, 7); \
	VPSHUFD $0x93, X0, X0; VPSHUFD $0x4e, X3, X3; VPSHUFD $0x39, X2, X2; \
	HALF(X7, 16, 12); HALF(X8, 8, 7); \
	VPSHUFD $0x39, X0, X0; VPSHUFD $0x4e, X3, X3; VPSHUFD $0x93, X2, X2

// COMPRESS makes the next chaining values in X0 and X1 from them, from the
// counter in X10, length and flags in AX, and the message in Z4.
#define COMPRESS \
	VMOVDQU ·iv+0(SB), X2; VPINSRQ $1, AX, X10, X3; \
	ROUND(Z16); ROUND(Z17); ROUND(Z18); ROUND(Z19); ROUND(Z20); ROUND(Z21); ROUND(Z22); \
	VPXORD X2, X0, X0; VPXORD X3, X1, X1

// func chunk1(in *byte, n int, key *[8]uint32, counter uint64, flags, start, end uint32, out *[8]uint32)
//
// It reads n bytes, of the last block only those that there are.
TEXT ·chunk1(SB), NOSPLIT, $0-56
	MOVQ in+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ key+16(FP), R10
	VMOVQ counter+24(FP), X10
	MOVL flags+32(FP), R11
	MOVL start+36(FP), R12
	MOVL end+40(FP), R13
	MOVQ out+48(FP), DI
	ORL R11, R12
	VMOVDQU 0(R10), X0
	VMOVDQU 16(R10), X1
	LEAQ ·schedule(SB), AX
	VMOVDQU64 0(AX), Z16
	VMOVDQU64 64(AX), Z17
	VMOVDQU64 128(AX), Z18
	VMOVDQU64 192(AX), Z19
	VMOVDQU64 256(AX), Z20
	VMOVDQU64 320(AX), Z21
	VMOVDQU64 384(AX), Z22
	CMPQ CX, $64
	JBE last

block:
	VMOVDQU64 (SI), Z4
	MOVQ R12, AX
	SHLQ $32, AX
	ORQ $64, AX
	MOVL R11, R12
	COMPRESS
	ADDQ $64, SI
	SUBQ $64, CX
	CMPQ CX, $64
	JHI block

last:
	MOVQ $-1, AX
	BZHIQ CX, AX, AX
	KMOVQ AX, K1
	VMOVDQU8.Z (SI), K1, Z4
	MOVL R12, AX
	ORL R13, AX
	SHLQ $32, AX
	ORQ CX, AX
	COMPRESS
	VMOVDQU X0, 0(DI)
	VMOVDQU X1, 16(DI)
	VZEROUPPER
	RET
