#include "images/components.h"

#include <limits>
#include <string>
#include <vector>

#include "error.h"

namespace ssn {
namespace {

// Union-find over provisional labels; the root of a set is its smallest label, so numbering keeps raster order.
int32_t root(std::vector<int32_t>& parents, int32_t label) {
  while (parents[label] != label) label = parents[label] = parents[parents[label]];
  return label;
}

void unite(std::vector<int32_t>& parents, int32_t a, int32_t b) {
  a = root(parents, a);
  b = root(parents, b);
  if (a < b)
    parents[b] = a;
  else
    parents[a] = b;
}

}  // namespace

int32_t labelComponents(const uint8_t* mask, int64_t height, int64_t width, int32_t* labels) {
  if (height * width > std::numeric_limits<int32_t>::max())
    throw Error("INTERNAL", "a mask of " + std::to_string(height) + " x " + std::to_string(width) +
                                " pixels is too large to label");
  std::vector<int32_t> parents{0};
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* pixels = mask + y * width;
    int32_t* row = labels + y * width;
    const int32_t* above = y > 0 ? row - width : nullptr;
    for (int64_t x = 0; x < width; ++x) {
      if (pixels[x] == 0) {
        row[x] = 0;
        continue;
      }
      const int32_t north = above ? above[x] : 0;
      if (north != 0) {  // the other three visited neighbours touch it already
        row[x] = north;
        continue;
      }
      const int32_t west = x > 0 ? row[x - 1] : 0;
      const int32_t northWest = above && x > 0 ? above[x - 1] : 0;
      const int32_t northEast = above && x + 1 < width ? above[x + 1] : 0;
      const int32_t left = west != 0 ? west : northWest;  // west and north-west touch each other
      if (left != 0) {
        row[x] = left;
        if (northEast != 0) unite(parents, left, northEast);
      } else if (northEast != 0) {
        row[x] = northEast;
      } else {
        row[x] = static_cast<int32_t>(parents.size());
        parents.push_back(row[x]);
      }
    }
  }
  int32_t count = 0;
  std::vector<int32_t> numbers(parents.size(), 0);
  for (size_t label = 1; label < parents.size(); ++label) {
    const int32_t first = root(parents, static_cast<int32_t>(label));
    numbers[label] = first == static_cast<int32_t>(label) ? ++count : numbers[first];
  }
  for (int64_t i = 0; i < height * width; ++i) labels[i] = numbers[labels[i]];
  return count;
}

}  // namespace ssn
