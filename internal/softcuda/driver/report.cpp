// report.cpp: the state, and what is told of breaches.
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace sc {

State& S = *new State;

std::string print(const char* format, ...) {
    char b[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(b, sizeof b, format, ap);
    va_end(ap);
    return b;
}

void violation(const char* format, ...) {
    char b[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(b, sizeof b, format, ap);
    va_end(ap);
    fprintf(stderr, "softcuda: VIOLATION: %s\n", b);
    if (S.violations.size() < 200) S.violations.push_back(b);
}

std::string Site::text() const {
    std::string t = function;
    if (!detail.empty()) t += " of " + detail;
    t += " (call " + std::to_string(call);
    if (stream >= 0) t += ", stream " + std::to_string(stream);
    return t + ", " + label + ")";
}

}  // namespace sc
