// SPDX-License-Identifier: Apache-2.0
//
// What a call's estimate depends on beside the schedule.

#ifndef TPAC_LOWERING_TILE_CALLSIZES_H
#define TPAC_LOWERING_TILE_CALLSIZES_H

#include <cstdint>

namespace tpac {

struct CallSizes {
  int64_t requests = 1;
  /// Query tokens, and cached tokens when the call is done, of each request.
  int64_t tokens = 1, cached = 0;
};

} // namespace tpac

#endif // TPAC_LOWERING_TILE_CALLSIZES_H
