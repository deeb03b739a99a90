#include "cuda/launch.cuh"
#include "kernels/noise.h"

SSN_FOR_EACH(ssn::kernels::LatentNoise);
