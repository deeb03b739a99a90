// NativeGroup of lib/native/binding.ts: this process as one rank of a group that trains together.
#include "distributed/group.h"

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/environment.h"
#include "addon/register.h"

namespace ssn::addon {
namespace {

class NativeGroup : public Napi::ObjectWrap<NativeGroup> {
 public:
  using Handle = std::shared_ptr<Group>;

  template <Napi::Value (NativeGroup::*Method)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*Method)(info); });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeGroup",
                       {
                           InstanceMethod<&NativeGroup::call<&NativeGroup::join>>("join"),
                           InstanceMethod<&NativeGroup::call<&NativeGroup::gather>>("gather"),
                           InstanceMethod<&NativeGroup::call<&NativeGroup::createTrainer>>("createTrainer"),
                           InstanceMethod<&NativeGroup::call<&NativeGroup::fail>>("fail"),
                           InstanceMethod<&NativeGroup::call<&NativeGroup::leave>>("leave"),
                       });
  }

  explicit NativeGroup(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NativeGroup>(info), group_(*info[0].As<Napi::External<Handle>>().Data()) {}

 private:
  Napi::Value join(const Napi::CallbackInfo& info) { return onEngine(info.Env(), &Group::join); }

  Napi::Value gather(const Napi::CallbackInfo& info) {
    const auto array = info[0].As<Napi::Uint8Array>();
    return runOnEngine<std::vector<Group::Bytes>>(
        info.Env(),
        [group = group_, bytes = Group::Bytes(array.Data(), array.Data() + array.ByteLength())] {
          return group->gather(bytes);
        },
        [](Napi::Env env, std::vector<Group::Bytes>& parts) {
          return listToJs(env, parts, [env](const Group::Bytes& part) { return vectorToJs(env, part); });
        });
  }

  Napi::Value createTrainer(const Napi::CallbackInfo& info) { return createTrainerIn(group_, info); }

  // On the calling thread: the engine's may be waiting for the other ranks.
  Napi::Value fail(const Napi::CallbackInfo& info) {
    group_->fail(info[0].As<Napi::String>(), info[1].As<Napi::String>());
    return info.Env().Undefined();
  }

  Napi::Value leave(const Napi::CallbackInfo& info) { return onEngine(info.Env(), &Group::leave); }

  Napi::Value onEngine(Napi::Env env, void (Group::*method)()) const {
    return runOnEngine(env, [group = group_, method] { (group.get()->*method)(); });
  }

  Handle group_;
};

Napi::Value createGroup(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  const auto milliseconds = [&](const char* name) {
    return std::chrono::milliseconds(static_cast<int64_t>(1000 * getNumber(options, name)));
  };
  const GroupOptions group{
      static_cast<int>(getInt(options, "rank")), static_cast<int>(getInt(options, "worldSize")),
      getString(options, "masterAddress"),       static_cast<uint16_t>(getInt(options, "masterPort")),
      getBool(options, "launcherStore"),         getString(options, "prefix"),
      milliseconds("joinTimeoutSeconds"),        milliseconds("timeoutSeconds"),
  };
  auto handle = std::make_shared<Group>(group);
  Environment& environment = Environment::of(info.Env());
  std::erase_if(environment.groups, [](const std::weak_ptr<Group>& each) { return each.expired(); });
  environment.groups.push_back(handle);
  return environment.group.New({Napi::External<NativeGroup::Handle>::New(info.Env(), &handle)});
}

}  // namespace

void registerGroup(Napi::Env env, Napi::Object exports) {
  Environment::of(env).group = Napi::Persistent(NativeGroup::define(env));
  addFunction<createGroup>(env, exports, "createGroup");
}

}  // namespace ssn::addon
