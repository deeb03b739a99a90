// Windows of images and masks as a view shows them. Promises run on the libuv pool.
#include "addon/convert.h"
#include "addon/held_array.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "images/window.h"

namespace ssn::addon {
namespace {

Rectangle rectangleFromJs(const Napi::Object& options, const char* name) {
  const auto object = options.Get(name).As<Napi::Object>();
  const Rectangle out{getInt(object, "x"), getInt(object, "y"), getInt(object, "width"), getInt(object, "height")};
  check(isSize(out.width) && isSize(out.height), "a rectangle has sides of at least 1");
  return out;
}

View viewFromJs(const Napi::Object& options) {
  const View view{rectangleFromJs(options, "region"), getInt(options, "toHeight"), getInt(options, "toWidth"),
                  rectangleFromJs(options, "window"),
                  getChoice<ResizeMethod>(options, "method",
                                          {{"bilinear", ResizeMethod::bilinear},
                                           {"antialias", ResizeMethod::antialias},
                                           {"nearest", ResizeMethod::nearest}})};
  check(isSize(view.toHeight) && isSize(view.toWidth), "image sizes must be at least 1");
  check(view.region.x >= 0 && view.region.y >= 0, "a region lies in its image");
  return view;
}

template <class T>
Napi::Value windowToJs(Napi::Env env, const HeldArray<T>& samples, const Samples& of, const Napi::Value& ignored,
                       const View& view) {
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(env, view.window.height * view.window.width * 3));
  const auto made = [out](Napi::Env, bool&) { return out.value(); };
  if (ignored.IsUndefined())
    return runOnPool<bool>(
        env,
        [=] {
          viewWindow(samples.data(), of, nullptr, view, out.data());
          return true;
        },
        made);
  const HeldArray<uint8_t> mask(ignored.As<Napi::Uint8Array>());
  check(static_cast<int64_t>(mask.length()) == of.rows * of.width, "a mask has one byte for each pixel");
  return runOnPool<bool>(
      env,
      [=] {
        viewWindow(samples.data(), of, mask.data(), view, out.data());
        return true;
      },
      made);
}

Napi::Value imageWindowToJs(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  const Samples of{getInt(options, "width"), getInt(options, "firstRow"), getInt(options, "rows"),
                   getInt(options, "channels"), getInt(options, "bitDepth")};
  check(isSize(of.width) && isSize(of.rows) && of.firstRow >= 0, "image sizes must be at least 1");
  check(of.channels == 1 || of.channels == 3 || of.channels == 4, "an image has 1, 3 or 4 channels");
  check(of.bitDepth >= 8 && of.bitDepth <= 16, "a bit depth lies between 8 and 16");
  const View view = viewFromJs(options);
  const Napi::Value ignored = options.Get("ignored");
  const auto array = info[0].As<Napi::TypedArray>();
  check(static_cast<int64_t>(array.ElementLength()) == of.rows * of.width * of.channels,
        "image data does not match its sizes");
  if (array.TypedArrayType() == napi_uint16_array)
    return windowToJs(info.Env(), HeldArray<uint16_t>(array.As<Napi::Uint16Array>()), of, ignored, view);
  check(array.TypedArrayType() == napi_uint8_array, "samples must be bytes or 16-bit numbers");
  return windowToJs(info.Env(), HeldArray<uint8_t>(array.As<Napi::Uint8Array>()), of, ignored, view);
}

Napi::Value maskWindowToJs(const Napi::CallbackInfo& info) {
  const HeldArray<uint8_t> mask(info[0].As<Napi::Uint8Array>());
  const auto options = info[1].As<Napi::Object>();
  const int64_t height = getInt(options, "height"), width = getInt(options, "width");
  const View view = viewFromJs(options);
  check(isSize(height) && isSize(width) && static_cast<int64_t>(mask.length()) == height * width,
        "mask data does not match its sizes");
  check(view.region.x + view.region.width <= width && view.region.y + view.region.height <= height,
        "a region lies in its image");
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(info.Env(), view.window.height * view.window.width));
  return runOnPool<bool>(
      info.Env(),
      [=] {
        maskWindow(mask.data(), width, view, out.data());
        return true;
      },
      [out](Napi::Env, bool&) { return out.value(); });
}

}  // namespace

void registerWindows(Napi::Env env, Napi::Object exports) {
  addFunction<imageWindowToJs>(env, exports, "imageWindow");
  addFunction<maskWindowToJs>(env, exports, "maskWindow");
}

}  // namespace ssn::addon
