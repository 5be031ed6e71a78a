// SPDX-License-Identifier: Apache-2.0
//
// Pseudo-random numbers that are the same on every machine (the distributions of <random> are not): splitmix64 of
// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).

#ifndef TPAC_TESTS_PROPERTY_RANDOM_H
#define TPAC_TESTS_PROPERTY_RANDOM_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace property {

class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}

  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /// An integer in [low, high].
  int64_t range(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
  }

  /// True in `percent` of a hundred draws.
  bool chance(int64_t percent) { return range(0, 99) < percent; }

  /// A number in [-1, 1).
  double signedUnit() { return static_cast<double>(next() >> 11) * 0x1p-52 - 1.0; }

  template <typename Value> Value pick(std::initializer_list<Value> choices) {
    return choices.begin()[range(0, static_cast<int64_t>(choices.size()) - 1)];
  }

private:
  uint64_t state;
};

} // namespace property

#endif // TPAC_TESTS_PROPERTY_RANDOM_H
