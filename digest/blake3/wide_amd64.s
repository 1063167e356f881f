#include "textflag.h"
#include "round_amd64.h"

// The kernels for AVX-512 with 16 lanes: every register holds one word of each
// of 16 chunks. Z0 to Z15 are the state, Z16 to Z31 the message.

// ROUND is a round; its arguments are the words of the message in its order.
#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
	HALF(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, m0, m2, m4, m6, 16, 12) \
	HALF(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, m1, m3, m5, m7, 8, 7) \
	HALF(Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14, m8, m10, m12, m14, 16, 12) \
	HALF(Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14, m9, m11, m13, m15, 8, 7)

// COMPRESS makes the next chaining values in Z0 to Z7 from them, from what is
// in Z12 to Z15, and from the message.
#define COMPRESS \
	VPBROADCASTD ·iv+0(SB), Z8; VPBROADCASTD ·iv+4(SB), Z9; \
	VPBROADCASTD ·iv+8(SB), Z10; VPBROADCASTD ·iv+12(SB), Z11; \
	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31) \
	ROUND(Z18, Z22, Z19, Z26, Z23, Z16, Z20, Z29, Z17, Z27, Z28, Z21, Z25, Z30, Z31, Z24) \
	ROUND(Z19, Z20, Z26, Z28, Z29, Z18, Z23, Z30, Z22, Z21, Z25, Z16, Z27, Z31, Z24, Z17) \
	ROUND(Z26, Z23, Z28, Z25, Z30, Z19, Z29, Z31, Z20, Z16, Z27, Z18, Z21, Z24, Z17, Z22) \
	ROUND(Z28, Z29, Z25, Z27, Z31, Z26, Z30, Z24, Z23, Z18, Z21, Z19, Z16, Z17, Z22, Z20) \
	ROUND(Z25, Z30, Z27, Z21, Z24, Z28, Z31, Z17, Z29, Z19, Z16, Z26, Z18, Z22, Z20, Z23) \
	ROUND(Z27, Z31, Z21, Z16, Z17, Z25, Z24, Z22, Z30, Z26, Z18, Z28, Z19, Z20, Z23, Z29) \
	VPXORD Z8, Z0, Z0; VPXORD Z9, Z1, Z1; VPXORD Z10, Z2, Z2; VPXORD Z11, Z3, Z3; \
	VPXORD Z12, Z4, Z4; VPXORD Z13, Z5, Z5; VPXORD Z14, Z6, Z6; VPXORD Z15, Z7, Z7

// PAIR makes of two registers the first and third 128 bits of both, and the
// second and fourth.
#define PAIR(a, b, t) \
	VSHUFI32X4 $0x88, b, a, t; VSHUFI32X4 $0xdd, b, a, b; VMOVDQA32 t, a

// TRANSPOSE turns Z16 to Z31 into a word of each lane. Before, Z16 to Z19 are the
// first halves of the blocks of lanes 0 to 3, and above them 4 to 7; Z20 to Z23
// of lanes 8 to 11 and 12 to 15; Z24 to Z31 are the second halves likewise.
#define TRANSPOSE \
	QUAD(Z16, Z17, Z18, Z19, Z8, Z9, Z10, Z11); QUAD(Z20, Z21, Z22, Z23, Z12, Z13, Z14, Z15); \
	PAIR(Z16, Z20, Z8); PAIR(Z17, Z21, Z9); PAIR(Z18, Z22, Z10); PAIR(Z19, Z23, Z11); \
	QUAD(Z24, Z25, Z26, Z27, Z8, Z9, Z10, Z11); QUAD(Z28, Z29, Z30, Z31, Z12, Z13, Z14, Z15); \
	PAIR(Z24, Z28, Z8); PAIR(Z25, Z29, Z9); PAIR(Z26, Z30, Z10); PAIR(Z27, Z31, Z11)

// PUT stores the chaining values of lanes j, j+4, j+8 and j+12, whose first
// halves are in x and second ones in y.
#define PUT(j, x, y) \
	VSHUFI32X4 $0x44, y, x, Z8; VSHUFI32X4 $0xee, y, x, Z9; \
	VSHUFI32X4 $0xd8, Z8, Z8, Z8; VSHUFI32X4 $0xd8, Z9, Z9, Z9; \
	VMOVDQU Y8, (32*j)(DI); VEXTRACTI64X4 $1, Z8, (32*j+128)(DI); \
	VMOVDQU Y9, (32*j+256)(DI); VEXTRACTI64X4 $1, Z9, (32*j+384)(DI)

// ROWS stores the chaining values of Z0 to Z7, those of each lane together.
#define ROWS \
	QUAD(Z0, Z1, Z2, Z3, Z8, Z9, Z10, Z11); QUAD(Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11); \
	PUT(0, Z0, Z4); PUT(1, Z1, Z5); PUT(2, Z2, Z6); PUT(3, Z3, Z7)

// KEY gives every lane the key.
#define KEY \
	VPBROADCASTD 0(R10), Z0; VPBROADCASTD 4(R10), Z1; VPBROADCASTD 8(R10), Z2; VPBROADCASTD 12(R10), Z3; \
	VPBROADCASTD 16(R10), Z4; VPBROADCASTD 20(R10), Z5; VPBROADCASTD 24(R10), Z6; VPBROADCASTD 28(R10), Z7

// LOAD loads the halves of two blocks, at x and y, into the registers named.
#define LOAD(x, y, first, lower, second, upper) \
	VMOVDQU32 x, lower; VINSERTI64X4 $1, y, first, first; \
	VMOVDQU32 32+x, upper; VINSERTI64X4 $1, 32+y, second, second

// LANES loads the blocks of lanes i and j, and calls for what is at R13.
#define LANES(i, j, first, lower, second, upper) \
	MOVQ (8*i)(R8), AX; MOVQ (8*j)(R8), DX; \
	PREFETCHT1 (AX)(R13*1); PREFETCHT1 (DX)(R13*1); \
	LOAD(0(AX)(BX*1), 0(DX)(BX*1), first, lower, second, upper)

// func chunks16(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)
//
// BX is the block's place in a chunk, R11 the flags of every block and R12 those
// of the next one. K1 are the lanes that end with the block: what they end with
// is kept, and what they go on with has no effect. R13 is the place 8 blocks on,
// where a chunk ends that of the lane's next one: what lies in memory is hashed
// half as fast again if it is called for, into the second cache. (The first
// has too few places for blocks that are 1024 bytes apart.)
TEXT ·chunks16(SB), NOSPLIT, $512-48
	MOVQ in+0(FP), R8
	MOVQ l+8(FP), R9
	MOVQ key+16(FP), R10
	MOVQ blocks+24(FP), CX
	MOVL flags+32(FP), R11
	MOVL start+36(FP), R12
	MOVQ out+40(FP), DI
	ORL R11, R12
	XORL BX, BX
	KEY

block16:
	LEAQ 512(BX), R13
	LEAQ (512-1024+16*1024)(BX), AX
	CMPQ R13, $1024
	CMOVQCC AX, R13
	LANES(0, 4, Z16, Y16, Z24, Y24)
	LANES(1, 5, Z17, Y17, Z25, Y25)
	LANES(2, 6, Z18, Y18, Z26, Y26)
	LANES(3, 7, Z19, Y19, Z27, Y27)
	LANES(8, 12, Z20, Y20, Z28, Y28)
	LANES(9, 13, Z21, Y21, Z29, Y29)
	LANES(10, 14, Z22, Y22, Z30, Y30)
	LANES(11, 15, Z23, Y23, Z31, Y31)
	TRANSPOSE
	VPBROADCASTD BX, Z12
	VPCMPEQD 128(R9), Z12, K1
	MOVL $64, AX
	VPBROADCASTD AX, Z14
	VMOVDQU32 192(R9), K1, Z14
	VPBROADCASTD R12, Z15
	VPORD 256(R9), Z15, K1, Z15
	VMOVDQU32 0(R9), Z12
	VMOVDQU32 64(R9), Z13
	MOVL R11, R12
	COMPRESS
	KORTESTW K1, K1
	JZ next16
	VMOVDQU32 Z0, K1, cvs-512(SP)
	VMOVDQU32 Z1, K1, cvs-448(SP)
	VMOVDQU32 Z2, K1, cvs-384(SP)
	VMOVDQU32 Z3, K1, cvs-320(SP)
	VMOVDQU32 Z4, K1, cvs-256(SP)
	VMOVDQU32 Z5, K1, cvs-192(SP)
	VMOVDQU32 Z6, K1, cvs-128(SP)
	VMOVDQU32 Z7, K1, cvs-64(SP)

next16:
	ADDQ $64, BX
	DECQ CX
	JNZ block16

	VMOVDQU32 cvs-512(SP), Z0
	VMOVDQU32 cvs-448(SP), Z1
	VMOVDQU32 cvs-384(SP), Z2
	VMOVDQU32 cvs-320(SP), Z3
	VMOVDQU32 cvs-256(SP), Z4
	VMOVDQU32 cvs-192(SP), Z5
	VMOVDQU32 cvs-128(SP), Z6
	VMOVDQU32 cvs-64(SP), Z7
	ROWS
	VZEROUPPER
	RET

// func parents16(in, out, key *[8]uint32, flags uint32)
TEXT ·parents16(SB), NOSPLIT, $0-28
	MOVQ in+0(FP), R8
	MOVQ out+8(FP), DI
	MOVQ key+16(FP), R10
	MOVL flags+24(FP), R11
	KEY
	LOAD(0(R8), 256(R8), Z16, Y16, Z24, Y24)
	LOAD(64(R8), 320(R8), Z17, Y17, Z25, Y25)
	LOAD(128(R8), 384(R8), Z18, Y18, Z26, Y26)
	LOAD(192(R8), 448(R8), Z19, Y19, Z27, Y27)
	LOAD(512(R8), 768(R8), Z20, Y20, Z28, Y28)
	LOAD(576(R8), 832(R8), Z21, Y21, Z29, Y29)
	LOAD(640(R8), 896(R8), Z22, Y22, Z30, Y30)
	LOAD(704(R8), 960(R8), Z23, Y23, Z31, Y31)
	TRANSPOSE
	VPXORD Z12, Z12, Z12
	VPXORD Z13, Z13, Z13
	MOVL $64, AX
	VPBROADCASTD AX, Z14
	VPBROADCASTD R11, Z15
	COMPRESS
	ROWS
	VZEROUPPER
	RET
