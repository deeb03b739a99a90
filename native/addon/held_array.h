// Typed arrays that work on the libuv pool reads or fills where they lie. To copy 20 megapixels takes tens of
// milliseconds of JavaScript's thread.
#pragma once

#include <napi.h>

#include <memory>

namespace ssn::addon {

// Keeps the array's memory until the job is gone. That must be on JavaScript's thread (PoolWorker sees to it), and
// nobody may transfer the buffer meanwhile: for arrays that lib/ made itself.
template <class T>
class HeldArray {
 public:
  explicit HeldArray(Napi::TypedArrayOf<T> array)
      : reference_(std::make_shared<Napi::Reference<Napi::TypedArrayOf<T>>>(Napi::Persistent(array))),
        data_(array.Data()),
        length_(array.ElementLength()) {}
  T* data() const { return data_; }
  size_t length() const { return length_; }
  Napi::TypedArrayOf<T> value() const { return reference_->Value(); }

 private:
  std::shared_ptr<Napi::Reference<Napi::TypedArrayOf<T>>> reference_;
  T* data_;
  size_t length_;
};

}  // namespace ssn::addon
