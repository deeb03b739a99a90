#include "addon/register.h"

namespace ssn::addon {

void registerAnomalies(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
