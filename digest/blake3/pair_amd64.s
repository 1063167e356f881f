#include "textflag.h"
#include "round_amd64.h"

// The kernels for AVX-512 with 2 lanes: the state is Y0 to Y3, a row of it in
// each and a lane in each 128 bits of them, else as in single_amd64.s.

// STEP is the first half of four quarter rounds in each lane, or the second.
#define STEP(m, r, s) \
	VPADDD m, Y0, Y0; VPADDD Y1, Y0, Y0; VPXORD Y0, Y3, Y3; VPRORD $r, Y3, Y3; \
	VPADDD Y3, Y2, Y2; VPXORD Y2, Y1, Y1; VPRORD $s, Y1, Y1

// WORDS takes two sets of words of both lanes from the blocks in Z4 and Z5.
#define WORDS(index, both, y) \
	VMOVDQU64 index(R9), both; VPERMI2D Z5, Z4, both; VEXTRACTI64X4 $1, both, y

// ROUND is a round.
#define ROUND(index) \
	WORDS(index, Z10, Y11); WORDS(index+64, Z12, Y13); \
	STEP(Y10, 16, 12); STEP(Y11, 8, 7); \
	VPSHUFD $0x93, Y0, Y0; VPSHUFD $0x4e, Y3, Y3; VPSHUFD $0x39, Y2, Y2; \
	STEP(Y12, 16, 12); STEP(Y13, 8, 7); \
	VPSHUFD $0x39, Y0, Y0; VPSHUFD $0x4e, Y3, Y3; VPSHUFD $0x93, Y2, Y2

// COMPRESS makes the next chaining values in Y0 and Y1 from them, from the last
// row in Y3, and from the blocks. R9 is the table of indices.
#define COMPRESS \
	VBROADCASTI128 ·iv+0(SB), Y2; \
	ROUND(0); ROUND(128); ROUND(256); ROUND(384); ROUND(512); ROUND(640); ROUND(768); \
	VPXOR Y2, Y0, Y0; VPXOR Y3, Y1, Y1

// ROWS stores the chaining values of each lane together.
#define ROWS \
	VMOVDQU X0, 0(DI); VMOVDQU X1, 16(DI); VEXTRACTI128 $1, Y0, 32(DI); VEXTRACTI128 $1, Y1, 48(DI)

// LAST makes z the last rows of the state from numbers, length and flags of the
// lanes: numbers in X0 and X1, length in X2, flags in X3.
#define LAST(z) \
	VPUNPCKLDQ X1, X0, X0; VPUNPCKLDQ X3, X2, X2; VPUNPCKLQDQ X2, X0, X1; VPUNPCKHQDQ X2, X0, X2; \
	VINSERTI32X4 $1, X2, Y1, z

// func chunks2(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)
//
// BX is the block's place in a chunk. Y16 are the last rows of its state and
// Y17 those of one that a lane ends with, in place Y18; K1 are such lanes.
TEXT ·chunks2(SB), NOSPLIT, $64-48
	MOVQ in+0(FP), R8
	MOVQ l+8(FP), AX
	MOVQ key+16(FP), R10
	MOVQ blocks+24(FP), CX
	MOVL flags+32(FP), R11
	MOVL start+36(FP), R12
	MOVQ out+40(FP), DI
	LEAQ ·pairs(SB), R9

	// Rows that end, rows that do not, and where they do.
	VMOVDQU 0(AX), X0
	VMOVDQU 64(AX), X1
	VMOVDQU 192(AX), X2
	VPBROADCASTD R11, X3
	VPOR 256(AX), X3, X3
	LAST(Y17)
	VMOVDQU 0(AX), X0
	VMOVDQU 64(AX), X1
	MOVL $64, DX
	VPBROADCASTD DX, X2
	VPBROADCASTD R11, X3
	LAST(Y16)
	VMOVDQU32 896(R9), Y0
	VPERMD 128(AX), Y0, Y18

	// The flags of the first block, in each lane's last word.
	MOVL $0x8888, AX
	KMOVW AX, K2
	VPBROADCASTD.Z R12, K2, Y19

	VBROADCASTI128 0(R10), Y0
	VBROADCASTI128 16(R10), Y1
	MOVQ 0(R8), AX
	MOVQ 8(R8), DX
	XORL BX, BX

block2:
	VMOVDQU64 (AX)(BX*1), Z4
	VMOVDQU64 (DX)(BX*1), Z5
	VPBROADCASTD BX, Y3
	VPCMPEQD Y18, Y3, K1
	VPORD Y19, Y16, Y3
	VPORD Y19, Y17, K1, Y3
	VPXORD Y19, Y19, Y19
	COMPRESS
	KORTESTW K1, K1
	JZ next2
	VMOVDQU32 Y0, K1, cvs-64(SP)
	VMOVDQU32 Y1, K1, cvs-32(SP)

next2:
	ADDQ $64, BX
	DECQ CX
	JNZ block2

	VMOVDQU32 cvs-64(SP), Y0
	VMOVDQU32 cvs-32(SP), Y1
	ROWS
	VZEROUPPER
	RET

// func parents2(in, out, key *[8]uint32, flags uint32)
TEXT ·parents2(SB), NOSPLIT, $0-28
	MOVQ in+0(FP), R8
	MOVQ out+8(FP), DI
	MOVQ key+16(FP), R10
	MOVL flags+24(FP), R11
	LEAQ ·pairs(SB), R9
	VBROADCASTI128 0(R10), Y0
	VBROADCASTI128 16(R10), Y1
	VMOVDQU64 0(R8), Z4
	VMOVDQU64 64(R8), Z5
	SHLQ $32, R11
	ORQ $64, R11
	MOVL $0xaa, AX
	KMOVW AX, K2
	VPBROADCASTQ.Z R11, K2, Y3
	COMPRESS
	ROWS
	VZEROUPPER
	RET
