#include "cuda/launch.cuh"
#include "kernels/perlin.h"

SSN_FOR_EACH(ssn::kernels::LatentNoise);
SSN_FOR_EACH(ssn::kernels::NoiseChoice);
SSN_FOR_EACH(ssn::kernels::AnomalyMasks);
SSN_REDUCE_ROWS(ssn::kernels::AnomalyCounts);
