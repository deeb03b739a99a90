#include "addon/register.h"

namespace ssn::addon {

void registerMetrics(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
