// A driver that does not start: cuInit answers INIT, cuDeviceGetCount COUNT.
#ifndef EMPTY
int cuInit(unsigned flags) { return flags ? 1 : INIT; }
int cuDeviceGetCount(int *n) { *n = 0; return COUNT; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
#endif
