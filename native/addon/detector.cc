#include "addon/register.h"

namespace ssn::addon {

void registerDetector(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
