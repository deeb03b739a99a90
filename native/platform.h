// Compiles a function for several instruction sets; the dynamic linker picks one when the engine is loaded. The
// prebuilt binary has a plain x86-64 baseline. Feature levels, not processor names: those test the processor's model,
// and a name of Intel's never matches on AMD.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(_WIN32)
#define SSN_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define SSN_AVX512 __attribute__((target("arch=x86-64-v4")))
#define SSN_AVX2 __attribute__((target("arch=x86-64-v3")))
#else
#define SSN_VECTORISED
#endif

// Code that functions of one instruction set share must be inlined, or it would be compiled for the baseline.
#define SSN_INLINE inline __attribute__((always_inline))
