// SSN_KERNEL marks functions that are compiled for the CPU and, by CUDA's compiler, for the GPU too.
#pragma once

#ifdef __CUDACC__
#define SSN_KERNEL __host__ __device__ __forceinline__
#else
#define SSN_KERNEL inline
#endif
