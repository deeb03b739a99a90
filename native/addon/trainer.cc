#include "addon/register.h"

namespace ssn::addon {

void registerTrainer(Napi::Env, Napi::Object) {}

}  // namespace ssn::addon
