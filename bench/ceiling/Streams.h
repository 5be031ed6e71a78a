// SPDX-License-Identifier: Apache-2.0
//
// The memory ceiling of a kernel: its own arrays, read or written side by side as it does, with nothing computed.

#ifndef TPAC_BENCH_CEILING_STREAMS_H
#define TPAC_BENCH_CEILING_STREAMS_H

#include "bench/ceiling/Isa.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tpac::bench {

/// One array: rows (tokens) of `rowBytes`, one after the other. A written stream is filled with zeros.
struct Stream {
  std::byte *data;
  int64_t rowBytes;
  bool written = false;
};

/// Arrays that advance together, by `rows` rows.
struct StreamGroup {
  std::vector<Stream> streams;
  int64_t rows;
};

/// How a group is walked through: so many rows of each array in turn, prefetching so many rows ahead (0: never).
struct StreamWalk {
  int64_t rowsInTurn;
  int64_t prefetchRows;
};

/// The walks to choose from: which is best depends on row sizes and machine.
std::span<const StreamWalk> streamWalks();
/// "64 rows in turn, prefetch 256 rows ahead".
std::string walkName(const StreamWalk &walk);

/// Bytes of a group.
int64_t streamBytes(const StreamGroup &group);

/// Reads (and writes) every cache line of `group` once, whole lines from that of the first byte on up to and without
/// that of the end, and returns a value that depends on all that was read.
uint64_t walkStreams(const StreamGroup &group, const StreamWalk &walk, Isa isa);

} // namespace tpac::bench

#endif // TPAC_BENCH_CEILING_STREAMS_H
