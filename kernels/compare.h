// What compare_flags and compare_list share.
#pragma once
#define KF_COMPARE_THREADS 256
