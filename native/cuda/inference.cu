#include "cuda/launch.cuh"
#include "kernels/inference.h"

#define SSN_FOR_ELEMENT(T)                  \
  SSN_FOR_EACH(ssn::kernels::Normalise<T>); \
  SSN_FOR_EACH(ssn::kernels::Epilogue<T>);  \
  SSN_FOR_EACH(ssn::kernels::WidenColumns<T>)

SSN_FOR_ELEMENT(float);
SSN_FOR_ELEMENT(c10::Half);
SSN_FOR_ELEMENT(c10::BFloat16);
SSN_REDUCE_ROWS(ssn::kernels::MapLogits);
SSN_FOR_EACH(ssn::kernels::ClassificationSegments);
SSN_FOR_EACH(ssn::kernels::PoolSegments);
SSN_REDUCE_ROWS(ssn::kernels::Score);
SSN_FOR_EACH(ssn::kernels::AnomalyMap);
