// Gloo's headers, as far as c10d/ProcessGroupGloo.hpp needs them: libtorch exports Gloo's code but does not ship its
// headers. Everything in this folder is a declaration of ours that must match the Gloo inside the pinned libtorch; none
// is part of Gloo's text. On the include path of group.cc alone, which calls nothing of Gloo itself.
//
// When native/libtorch.json names another version: compile (a header or member that is missing shows at once), compare
// the signatures with `nm -DC libtorch_cpu.so | grep gloo::`, and run test/training/distributed.test.ts.
#pragma once

#include <chrono>
#include <memory>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {

class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};

}  // namespace transport
}  // namespace gloo
