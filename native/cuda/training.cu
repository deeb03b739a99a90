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
SSN_FOR_EACH(ssn::kernels::NumberActive);
SSN_FOR_EACH(ssn::kernels::Multiplicity);
SSN_FOR_EACH(ssn::kernels::AddShared);
SSN_FOR_EACH(ssn::kernels::AddToShared);
SSN_FOR_EACH(ssn::kernels::RowsToCells);
SSN_FOR_EACH(ssn::kernels::CellsToRows);
SSN_FOR_EACH(ssn::kernels::AddNoiseTaps);
SSN_FOR_EACH(ssn::kernels::GatherNoiseTaps);
SSN_FOR_EACH(ssn::kernels::AddChosen);
SSN_FOR_EACH(ssn::kernels::SumChosen);
SSN_FOR_EACH(ssn::kernels::AddChosenTaps);
SSN_FOR_EACH(ssn::kernels::SumChosenTaps);
SSN_FOR_EACH(ssn::kernels::MapPatches);
SSN_FOR_EACH(ssn::kernels::MapPatchesAdjoint);
SSN_FOR_EACH(ssn::kernels::AdamW);
