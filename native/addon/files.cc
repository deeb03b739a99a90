#include "addon/register.h"

namespace ssn::addon {

void registerFiles(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
