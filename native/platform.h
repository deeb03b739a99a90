// Compiles a function for several instruction sets; the dynamic linker picks one when the engine is loaded. The
// prebuilt binary has a plain x86-64 baseline.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(_WIN32)
#define SSN_VECTORISED __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define SSN_VECTORISED
#endif
