#include "addon/register.h"

namespace ssn::addon {

void registerImages(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
