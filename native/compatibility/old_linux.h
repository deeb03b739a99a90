// What the compiler includes in every file on Linux: the binaries then load where libtorch does, on glibc 2.28 and the
// libstdc++ of GCC 8, wherever they are built. Functions are asked for in the version that those systems have; what
// they lack is in old_linux.cc, or not used. test/native/symbols.test.ts looks at the result.
#pragma once

#include <features.h>

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))

#if defined(__x86_64__)
#define SSN_FIRST_GLIBC "GLIBC_2.2.5"
#else
#define SSN_FIRST_GLIBC "GLIBC_2.17"
#endif
#define SSN_FROM(name, version) __asm__(".symver " #name "," #name "@" version)

// Newer versions of these set errno in fewer cases. Nothing here reads it, and the results are the same.
SSN_FROM(exp, SSN_FIRST_GLIBC);
SSN_FROM(log, SSN_FIRST_GLIBC);
SSN_FROM(pow, SSN_FIRST_GLIBC);
// Moved to libc.so in glibc 2.34, from libraries that node and libtorch load.
SSN_FROM(dlerror, SSN_FIRST_GLIBC);
SSN_FROM(dlopen, SSN_FIRST_GLIBC);
SSN_FROM(dlsym, SSN_FIRST_GLIBC);
SSN_FROM(pthread_once, SSN_FIRST_GLIBC);
// std::condition_variable::wait
SSN_FROM(_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE, "GLIBCXX_3.4.11");

#undef SSN_FROM
#undef SSN_FIRST_GLIBC
#endif
