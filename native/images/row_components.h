// 8-connected components of a mask that comes row by row, by union-find over runs of pixels. Holds the runs of two rows
// and the components that these belong to. No libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ssn {

// Component: what is kept of a component.
template <class Component>
class RowComponents {
 public:
  // inside(x): pixel x of the next row is in the mask. make(begin, end): the component that the run begin..end-1 would
  // be alone; called from left to right. merge(into, from): both are one. close(component): no later row touches it.
  template <class Inside, class Make, class Merge, class Close>
  void addRow(int64_t width, Inside&& inside, Make&& make, Merge&& merge, Close&& close) {
    ++row_;
    runs_.clear();
    std::size_t touching = 0;  // in the row above: runs before this one end too far left for what comes
    for (int64_t x = 0; x < width;) {
      if (!inside(x)) {
        ++x;
        continue;
      }
      const int64_t begin = x;
      while (x < width && inside(x)) ++x;
      while (touching < above_.size() && above_[touching].end < begin) ++touching;
      Component component = make(begin, x);
      if (touching == above_.size() || above_[touching].begin > x) {
        runs_.push_back({begin, x, place(std::move(component))});
        continue;
      }
      const uint32_t slot = root(above_[touching].slot);
      merge(slots_[slot].component, component);
      for (; touching + 1 < above_.size() && above_[touching + 1].begin <= x; ++touching) {
        const uint32_t other = root(above_[touching + 1].slot);
        if (other == slot) continue;
        merge(slots_[slot].component, slots_[other].component);
        slots_[other].parent = slot;
        merged_.push_back(other);
      }
      runs_.push_back({begin, x, slot});
    }
    for (Run& run : runs_) {
      run.slot = root(run.slot);
      slots_[run.slot].row = row_;
    }
    for (const Run& run : above_) {
      const uint32_t slot = root(run.slot);
      if (slots_[slot].row == row_) continue;
      slots_[slot].row = row_;  // once
      close(slots_[slot].component);
      free_.push_back(slot);
    }
    // Only now: the runs above no longer lead through them.
    free_.insert(free_.end(), merged_.begin(), merged_.end());
    merged_.clear();
    above_.swap(runs_);
  }

  // No row follows.
  template <class Close>
  void end(Close&& close) {
    addRow(
        0, [](int64_t) { return false; }, [](int64_t, int64_t) { return Component(); }, [](Component&, Component&) {},
        close);
  }

 private:
  struct Run {
    int64_t begin, end;  // pixels begin..end-1
    uint32_t slot;
  };
  struct Slot {
    Component component;
    uint32_t parent;  // itself: it is a component
    int64_t row;      // the last one that it is known to be in
  };

  uint32_t root(uint32_t slot) {
    while (slots_[slot].parent != slot) slot = slots_[slot].parent = slots_[slots_[slot].parent].parent;
    return slot;
  }

  uint32_t place(Component&& component) {
    if (free_.empty()) {
      const auto slot = static_cast<uint32_t>(slots_.size());
      slots_.push_back({std::move(component), slot, row_});
      return slot;
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    slots_[slot] = {std::move(component), slot, row_};
    return slot;
  }

  std::vector<Run> above_, runs_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_, merged_;
  int64_t row_ = 0;
};

}  // namespace ssn
