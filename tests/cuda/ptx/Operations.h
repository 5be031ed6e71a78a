// SPDX-License-Identifier: Apache-2.0
//
// What instructions do to registers alone: lane by lane, or lanes together.

#ifndef TPAC_TESTS_CUDA_PTX_OPERATIONS_H
#define TPAC_TESTS_CUDA_PTX_OPERATIONS_H

#include "tests/cuda/ptx/Machine.h"

#include <string_view>

namespace tpac::ptx {

struct Operation {
  Execute execute = nullptr;
  Flow flow = Flow::next;
  /// Bytes of what it writes and reads, in the order of the operands; braces count as so many operands.
  std::vector<int> to, from;
};

/// By the whole opcode ("add.rn.ftz.f32"); " of b64" behind that of a conversion whose operand has so many bits, which
/// are more than its type's. Null: not known.
const Operation *findOperation(std::string_view opcode);

/// Calls `f` with each active lane.
template <typename F> void forActiveLanes(const Warp &warp, F f) {
  if (warp.active == allLanes) {
    for (int lane = 0; lane < lanesOfWarp; ++lane)
      f(lane);
    return;
  }
  for (int lane = 0; lane < lanesOfWarp; ++lane)
    if (warp.active >> lane & 1)
      f(lane);
}

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_OPERATIONS_H
