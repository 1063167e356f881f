#include "textflag.h"
#include "round_amd64.h"

// The kernels for AVX-512 with 8 lanes: every register holds one word of each
// of 8 chunks. Y0 to Y15 are the state, Y16 to Y31 the message.

// ROUND is a round; its arguments are the words of the message in its order.
#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
	HALF(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15, m0, m2, m4, m6, 16, 12) \
	HALF(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15, m1, m3, m5, m7, 8, 7) \
	HALF(Y0, Y1, Y2, Y3, Y5, Y6, Y7, Y4, Y10, Y11, Y8, Y9, Y15, Y12, Y13, Y14, m8, m10, m12, m14, 16, 12) \
	HALF(Y0, Y1, Y2, Y3, Y5, Y6, Y7, Y4, Y10, Y11, Y8, Y9, Y15, Y12, Y13, Y14, m9, m11, m13, m15, 8, 7)

// COMPRESS makes the next chaining values in Y0 to Y7 from them, from what is
// in Y12 to Y15, and from the message.
#define COMPRESS \
	VPBROADCASTD ·iv+0(SB), Y8; VPBROADCASTD ·iv+4(SB), Y9; \
	VPBROADCASTD ·iv+8(SB), Y10; VPBROADCASTD ·iv+12(SB), Y11; \
	ROUND(Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23, Y24, Y25, Y26, Y27, Y28, Y29, Y30, Y31) \
	ROUND(Y18, Y22, Y19, Y26, Y23, Y16, Y20, Y29, Y17, Y27, Y28, Y21, Y25, Y30, Y31, Y24) \
	ROUND(Y19, Y20, Y26, Y28, Y29, Y18, Y23, Y30, Y22, Y21, Y25, Y16, Y27, Y31, Y24, Y17) \
	ROUND(Y26, Y23, Y28, Y25, Y30, Y19, Y29, Y31, Y20, Y16, Y27, Y18, Y21, Y24, Y17, Y22) \
	ROUND(Y28, Y29, Y25, Y27, Y31, Y26, Y30, Y24, Y23, Y18, Y21, Y19, Y16, Y17, Y22, Y20) \
	ROUND(Y25, Y30, Y27, Y21, Y24, Y28, Y31, Y17, Y29, Y19, Y16, Y26, Y18, Y22, Y20, Y23) \
	ROUND(Y27, Y31, Y21, Y16, Y17, Y25, Y24, Y22, Y30, Y26, Y18, Y28, Y19, Y20, Y23, Y29) \
	VPXORD Y8, Y0, Y0; VPXORD Y9, Y1, Y1; VPXORD Y10, Y2, Y2; VPXORD Y11, Y3, Y3; \
	VPXORD Y12, Y4, Y4; VPXORD Y13, Y5, Y5; VPXORD Y14, Y6, Y6; VPXORD Y15, Y7, Y7

// PAIR makes of two registers the first halves of both and the second ones.
#define PAIR(a, b, t) \
	VSHUFI32X4 $0, b, a, t; VSHUFI32X4 $3, b, a, b; VMOVDQA32 t, a

// EIGHT transposes 8x8 words.
#define EIGHT(a, b, c, d, e, f, g, h) \
	QUAD(a, b, c, d, Y8, Y9, Y10, Y11); QUAD(e, f, g, h, Y12, Y13, Y14, Y15); \
	PAIR(a, e, Y8); PAIR(b, f, Y9); PAIR(c, g, Y10); PAIR(d, h, Y11)

// TRANSPOSE turns the first halves of blocks in Y16 to Y23 and the second ones
// in Y24 to Y31 into a word of each lane.
#define TRANSPOSE \
	EIGHT(Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23); \
	EIGHT(Y24, Y25, Y26, Y27, Y28, Y29, Y30, Y31)

// ROWS stores the chaining values of Y0 to Y7, those of each lane together.
#define ROWS \
	EIGHT(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7); \
	VMOVDQU Y0, 0(DI); VMOVDQU Y1, 32(DI); VMOVDQU Y2, 64(DI); VMOVDQU Y3, 96(DI); \
	VMOVDQU Y4, 128(DI); VMOVDQU Y5, 160(DI); VMOVDQU Y6, 192(DI); VMOVDQU Y7, 224(DI)

// KEY gives every lane the key.
#define KEY \
	VPBROADCASTD 0(R10), Y0; VPBROADCASTD 4(R10), Y1; VPBROADCASTD 8(R10), Y2; VPBROADCASTD 12(R10), Y3; \
	VPBROADCASTD 16(R10), Y4; VPBROADCASTD 20(R10), Y5; VPBROADCASTD 24(R10), Y6; VPBROADCASTD 28(R10), Y7

// LOAD loads the halves of the block of lane i.
#define LOAD(i, x, y) \
	MOVQ (8*i)(R8), AX; VMOVDQU32 (AX)(BX*1), x; VMOVDQU32 32(AX)(BX*1), y

// func chunks8(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)
//
// Registers are those of chunks16; of in and l it takes the first 8 lanes.
TEXT ·chunks8(SB), NOSPLIT, $256-48
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

block8:
	LOAD(0, Y16, Y24)
	LOAD(1, Y17, Y25)
	LOAD(2, Y18, Y26)
	LOAD(3, Y19, Y27)
	LOAD(4, Y20, Y28)
	LOAD(5, Y21, Y29)
	LOAD(6, Y22, Y30)
	LOAD(7, Y23, Y31)
	TRANSPOSE
	VPBROADCASTD BX, Y12
	VPCMPEQD 128(R9), Y12, K1
	MOVL $64, AX
	VPBROADCASTD AX, Y14
	VMOVDQU32 192(R9), K1, Y14
	VPBROADCASTD R12, Y15
	VPORD 256(R9), Y15, K1, Y15
	VMOVDQU32 0(R9), Y12
	VMOVDQU32 64(R9), Y13
	MOVL R11, R12
	COMPRESS
	KORTESTW K1, K1
	JZ next8
	VMOVDQU32 Y0, K1, cvs-256(SP)
	VMOVDQU32 Y1, K1, cvs-224(SP)
	VMOVDQU32 Y2, K1, cvs-192(SP)
	VMOVDQU32 Y3, K1, cvs-160(SP)
	VMOVDQU32 Y4, K1, cvs-128(SP)
	VMOVDQU32 Y5, K1, cvs-96(SP)
	VMOVDQU32 Y6, K1, cvs-64(SP)
	VMOVDQU32 Y7, K1, cvs-32(SP)

next8:
	ADDQ $64, BX
	DECQ CX
	JNZ block8

	VMOVDQU32 cvs-256(SP), Y0
	VMOVDQU32 cvs-224(SP), Y1
	VMOVDQU32 cvs-192(SP), Y2
	VMOVDQU32 cvs-160(SP), Y3
	VMOVDQU32 cvs-128(SP), Y4
	VMOVDQU32 cvs-96(SP), Y5
	VMOVDQU32 cvs-64(SP), Y6
	VMOVDQU32 cvs-32(SP), Y7
	ROWS
	VZEROUPPER
	RET

// func parents8(in, out, key *[8]uint32, flags uint32)
TEXT ·parents8(SB), NOSPLIT, $0-28
	MOVQ in+0(FP), R8
	MOVQ out+8(FP), DI
	MOVQ key+16(FP), R10
	MOVL flags+24(FP), R11
	KEY
	VMOVDQU32 0(R8), Y16
	VMOVDQU32 32(R8), Y24
	VMOVDQU32 64(R8), Y17
	VMOVDQU32 96(R8), Y25
	VMOVDQU32 128(R8), Y18
	VMOVDQU32 160(R8), Y26
	VMOVDQU32 192(R8), Y19
	VMOVDQU32 224(R8), Y27
	VMOVDQU32 256(R8), Y20
	VMOVDQU32 288(R8), Y28
	VMOVDQU32 320(R8), Y21
	VMOVDQU32 352(R8), Y29
	VMOVDQU32 384(R8), Y22
	VMOVDQU32 416(R8), Y30
	VMOVDQU32 448(R8), Y23
	VMOVDQU32 480(R8), Y31
	TRANSPOSE
	VPXORD Y12, Y12, Y12
	VPXORD Y13, Y13, Y13
	MOVL $64, AX
	VPBROADCASTD AX, Y14
	VPBROADCASTD R11, Y15
	COMPRESS
	ROWS
	VZEROUPPER
	RET
