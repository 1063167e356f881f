#pragma once

int kv_start(void);             // starts the driver unless it runs; what its cuInit answered
const char *kv_library(void);   // the file of the driver; "" if there is none
const char *kv_reasons(void);   // why files could not be opened
int kv_has(const char *name);   // whether the driver exports a function
