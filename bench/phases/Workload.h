// SPDX-License-Identifier: Apache-2.0
//
// The data of one row and the calls that work on it: many units - what one thread does in one call - in different
// memory, so that going from one to the next always meets cold caches.

#ifndef TPAC_BENCH_PHASES_WORKLOAD_H
#define TPAC_BENCH_PHASES_WORKLOAD_H

#include "bench/ceiling/Streams.h"
#include "bench/measure/Arena.h"
#include "bench/measure/ThreadTeam.h"
#include "bench/phases/Rows.h"
#include "bench/phases/Work.h"

#include "lowering/phases/PhaseCall.h"

#include <map>
#include <span>

namespace tpac::bench {

/// Values of an i32 tensor of a call of `row` that is called `name`: where its tokens are. Pages stand in an order of
/// `seed`, as a pool has them after a while. Throws std::invalid_argument for other tensors.
void fillIntegers(const Row &row, const std::string &name, int64_t capacity, uint64_t seed, std::span<int32_t> values);

class Workload {
public:
  /// Lays out at least `poolBytes` of touched memory in `arena`, in a multiple of `row.threads` units, and fills it
  /// with finite values. `memoryLimit` bounds the memory: the pool shrinks to it, and std::invalid_argument is thrown
  /// if not even one unit per thread fits.
  Workload(const Row &row, const PhaseSignature &signature, Arena &arena, ThreadTeam &team, int64_t poolBytes,
           int64_t memoryLimit);

  int64_t units() const { return unitCount; }
  /// Bytes that one unit reads and writes: visible rows of the cache, and the other tensors once.
  int64_t unitBytes() const { return touchedBytes; }
  /// Tokens of one unit to which times are related: cached (decode), new (append, prefill), rows (merge).
  int64_t unitTokens() const;
  /// Multiply-adds of one unit; 0 for append and merge, which move data.
  int64_t unitMultiplyAdds() const;
  /// The least seconds that the arithmetic of a unit of prefill takes on a machine with these peaks, FLOP per second:
  /// the greater one of the matrix unit's time and the softmax's. 0 for other phases.
  double unitBound(double fmaPeak, double amxPeak) const;

  /// Calls `function` on unit `unit` with `scratch`, aligned to 64 bytes, of at least its signature's bytes; without
  /// any, its large tiles are on the stack. Returns its status.
  int32_t call(PhaseFunction function, int64_t unit, std::span<std::byte> scratch = {});
  /// The tensors of a unit, in the order of the signature.
  struct Memory {
    const PhaseTensor *spec;
    std::span<std::byte> bytes;
  };
  std::vector<Memory> memory(int64_t unit) const;

  /// What the call on `unit` reads and writes, request by request.
  std::vector<StreamGroup> streams(int64_t unit) const;

private:
  struct Tensor {
    PhaseTensor spec;
    std::byte *data = nullptr;
    int64_t bytes = 0; // of one unit
    bool perUnit = true;
    bool isCache = false;
    int64_t rowBytes = 0; // of one token, in caches and in tensors of tokens
    std::byte *at(int64_t unit) const { return data + (perUnit ? unit * stride() : 0); }
    int64_t stride() const { return (bytes + 63) / 64 * 64; }
  };

  int64_t sizeOf(const Dimension &dimension) const;
  void measureTensors();
  void fill(ThreadTeam &team);
  void fillUnit(int64_t unit);
  void makeBlocks();

  Row row;
  PhaseSignature signature;
  Dimensions dimensions;
  int64_t unitRequests;
  int64_t capacity;
  std::map<std::string, int64_t> sizes;
  std::vector<Tensor> tensors;
  int64_t firstRow = 0, rowsPerRequest = 0; // of the cache: what a request reads or writes
  int64_t touchedBytes = 0;
  int64_t unitCount = 0;
  // Argument blocks as docs/variant.md lays them out, made once: tens of thousands of small units would not pay for a
  // PhaseCall each.
  std::vector<std::vector<int64_t>> blocks;
};

} // namespace tpac::bench

#endif // TPAC_BENCH_PHASES_WORKLOAD_H
