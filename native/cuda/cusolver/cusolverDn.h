// libtorch's CUDA headers name cuSOLVER's handle in one declaration, which nothing here uses; the library and its
// headers are not among the wheels that the engine is built with (native/libtorch.json).
#pragma once

typedef struct cusolverDnContext* cusolverDnHandle_t;
