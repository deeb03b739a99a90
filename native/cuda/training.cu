#include "cuda/launch.cuh"
#include "kernels/training.h"

SSN_FOR_EACH(ssn::kernels::ColumnPartials<ssn::kernels::WeightedSum>);
SSN_FOR_EACH(ssn::kernels::ColumnPartials<ssn::kernels::WeightedDeviation>);
SSN_FOR_EACH(ssn::kernels::ColumnPartials<ssn::kernels::LeakyGradients>);
SSN_FOR_EACH(ssn::kernels::ColumnPartials<ssn::kernels::PoolNormGradients>);
SSN_FOR_EACH(ssn::kernels::ColumnTotals);
SSN_REDUCE_ROWS(ssn::kernels::LeakyLogits);
SSN_FOR_EACH(ssn::kernels::LeakyInputGradient);
SSN_FOR_EACH(ssn::kernels::PoolPieces);
SSN_FOR_EACH(ssn::kernels::PoolTotals);
SSN_FOR_EACH(ssn::kernels::PoolInputGradient);
SSN_FOR_EACH(ssn::kernels::AddRows);
SSN_FOR_EACH(ssn::kernels::AddNoiseTaps);
SSN_FOR_EACH(ssn::kernels::GatherNoiseTaps);
